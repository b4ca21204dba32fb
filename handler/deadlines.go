package handler

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// timedListener accepts connections that bound how long their caller may take.
//
// fasthttp would set three deadlines for each request, which costs a replay a tenth of its CPU. Here a request that
// comes and goes at once sets none: a deadline that is set is kept until most of its time has passed.
type timedListener struct {
	net.Listener
	server *Server
}

// Accept returns the next connection. Its caller has ReadTimeout for the TLS handshake and the first request together.
func (l *timedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	timed := &timedConn{Conn: c, server: l.server, began: time.Now(), bounded: true}
	timed.writeBy = l.server.ReadTimeout
	_ = c.SetDeadline(timed.began.Add(l.server.ReadTimeout)) // it fails on a closed connection, as the next read does
	if secured, ok := c.(*tls.Conn); ok {
		return &timedTLS{timed, secured}, nil
	}
	return timed, nil
}

// timedConn is a caller's connection. All of it belongs to the goroutine that serves the connection.
type timedConn struct {
	net.Conn
	server *Server   // has the timeouts
	began  time.Time // the times below count from here

	written time.Duration // when something was written last
	readBy  time.Duration // the read deadline that is set
	writeBy time.Duration // the write deadline that is set
	idle    bool          // the last request is done, and nothing of the next one has come
	bounded bool          // the read deadline is that of the request that is coming
}

// A deadline that is set may be this share of its timeout too early.
const early = 4

// Read waits for the next request for at least three quarters of IdleTimeout, and for the rest of a request of which
// a part has come until ReadTimeout is over.
func (c *timedConn) Read(p []byte) (n int, err error) {
	switch {
	case c.idle:
		until := c.written + c.server.IdleTimeout
		if c.readBy > until || c.readBy < until-c.server.IdleTimeout/early {
			c.readBy = until
			err = c.Conn.SetReadDeadline(c.began.Add(until))
		}
	case !c.bounded:
		err = c.SetReadDeadline(time.Now().Add(c.server.ReadTimeout))
	}
	if err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// SetReadDeadline bounds the rest of a request, instead of ReadTimeout.
func (c *timedConn) SetReadDeadline(t time.Time) error {
	c.bounded, c.readBy = true, t.Sub(c.began)
	return c.Conn.SetReadDeadline(t)
}

// turned learns from fasthttp that a part of a request has come, or that the last request is done. It is done once the
// rest of an unwanted body has come too, even if that is behind the answer.
func (c *timedConn) turned(state fasthttp.ConnState) {
	c.idle = state == fasthttp.StateIdle
	c.bounded = c.bounded && !c.idle
}

// Write has at least three quarters of WriteTimeout, whatever came before it on the connection.
func (c *timedConn) Write(p []byte) (n int, err error) {
	now := time.Since(c.began)
	until := now + c.server.WriteTimeout
	if c.writeBy > until || c.writeBy < until-c.server.WriteTimeout/early {
		c.writeBy = until
		if err := c.SetWriteDeadline(c.began.Add(until)); err != nil {
			return 0, err
		}
	}
	c.written = now
	return c.Conn.Write(p)
}

// timedTLS lets fasthttp see that a connection is secured, and shake hands before it reads.
type timedTLS struct {
	*timedConn
	secured *tls.Conn
}

// Handshake runs the handshake, unless that was done.
func (c *timedTLS) Handshake() error { return c.secured.Handshake() }

// ConnectionState returns the state of the TLS connection.
func (c *timedTLS) ConnectionState() tls.ConnectionState { return c.secured.ConnectionState() }
