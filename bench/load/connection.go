package load

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"
)

// Connection is a keep-alive connection that sends webhooks and reads the answers. It is not safe for concurrent use.
type Connection struct {
	conn       net.Conn
	request    []byte
	sequenceAt int
	answer     []byte
}

// maxAnswer exceeds the answers of all contenders.
const maxAnswer = 8 << 10

// Dial opens a connection to host:port.
func Dial(ctx context.Context, address string) (*Connection, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &Connection{conn: conn, answer: make([]byte, maxAnswer)}
	c.request, c.sequenceAt = request(address)
	return c, nil
}

// Close ends the connection.
func (c *Connection) Close() { _ = c.conn.Close() }

// Until sets a deadline for everything on the connection.
func (c *Connection) Until(t time.Time) { _ = c.conn.SetDeadline(t) }

// Post sends the webhook with a sequence. The body is valid until the next call.
func (c *Connection) Post(sequence int64) (status int, body []byte, err error) {
	strconv.AppendInt(c.request[c.sequenceAt:c.sequenceAt], sequence, 10)
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, nil, err
	}
	for read := 0; ; {
		n, err := c.conn.Read(c.answer[read:])
		if err != nil {
			return 0, nil, err
		}
		read += n
		status, head, length, err := parseAnswer(c.answer[:read])
		switch {
		case err != nil:
			return 0, nil, err
		case head > 0 && read >= head+length:
			return status, c.answer[head : head+length], nil
		case read == len(c.answer):
			return 0, nil, errors.New("an answer that is too long")
		}
	}
}
