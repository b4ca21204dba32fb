package redis

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"

	"github.com/redis/rueidis"
)

// rueidis sends HELLO at the beginning of each connection, even if it is told to speak RESP2 (protocol=2). Proxies such
// as Envoy refuse HELLO, and twemproxy closes the connection. PING takes its place: rueidis only needs a reply that is
// not an error.
var (
	hello = []byte("*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n")
	ping  = []byte("*1\r\n$4\r\nPING\r\n")
)

// withoutHello makes the connections of an option send no HELLO. They get no name either, since a server that refuses
// HELLO also refuses CLIENT SETNAME.
func withoutHello(option *rueidis.ClientOption) {
	option.ClientName = ""
	dial := option.DialCtxFn // rueidis sets it for a unix socket
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

// silentConn replaces HELLO by PING in the first write, which carries the whole handshake of rueidis.
type silentConn struct {
	net.Conn
	greeted bool
}

func (c *silentConn) Write(b []byte) (int, error) {
	if c.greeted {
		return c.Conn.Write(b)
	}
	c.greeted = true
	at := bytes.LastIndex(b, hello) // the last one: the password of AUTH before it may contain anything
	if at < 0 {
		return c.Conn.Write(b)
	}
	first := bytes.Join([][]byte{b[:at], b[at+len(hello):]}, ping)
	if _, err := c.Conn.Write(first); err != nil {
		return 0, err
	}
	return len(b), nil
}
