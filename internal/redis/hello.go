package redis

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"

	"github.com/redis/rueidis"
)

// The command that rueidis sends at the beginning of each connection, even where it is to speak RESP2 (protocol=2),
// and the one that stands in its place: proxies such as Envoy refuse HELLO, and twemproxy closes the connection at
// it. rueidis asks for no more of the reply than that it is no error.
var (
	hello = []byte("*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n")
	ping  = []byte("*1\r\n$4\r\nPING\r\n")
)

// withoutHello makes connections of an option that never send HELLO. They have no name either, since what refuses the
// one refuses CLIENT SETNAME too.
func withoutHello(option *rueidis.ClientOption) {
	option.ClientName = ""
	dial := option.DialCtxFn // set for a unix socket
	option.DialCtxFn = func(
		ctx context.Context, address string, dialer *net.Dialer, secured *tls.Config,
	) (net.Conn, error) {
		var conn net.Conn
		var err error
		switch {
		case dial != nil:
			conn, err = dial(ctx, address, dialer, secured)
		case secured != nil:
			conn, err = (&tls.Dialer{NetDialer: dialer, Config: secured}).DialContext(ctx, "tcp", address)
		default:
			conn, err = dialer.DialContext(ctx, "tcp", address)
		}
		if err != nil {
			return nil, err
		}
		return &silentConn{Conn: conn}, nil
	}
}

// silentConn replaces HELLO in the first write, which carries all of rueidis' handshake.
type silentConn struct {
	net.Conn
	greeted bool
}

func (c *silentConn) Write(b []byte) (int, error) {
	if c.greeted {
		return c.Conn.Write(b)
	}
	c.greeted = true
	at := bytes.LastIndex(b, hello) // behind AUTH, whose password is anything
	if at < 0 {
		return c.Conn.Write(b)
	}
	first := bytes.Join([][]byte{b[:at], b[at+len(hello):]}, ping)
	if _, err := c.Conn.Write(first); err != nil {
		return 0, err
	}
	return len(b), nil
}
