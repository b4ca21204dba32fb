package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// A backend whose address does not answer is told from one that is slow.
	dialTimeout = 5 * time.Second
	// More than executions at once, usually: a burst leaves connections for the next one.
	maxIdle        = 512
	maxHeaderBytes = 64 << 10
)

// newTransport returns the pool of connections. One that is not used for idle is closed; 0: none is kept. It should go
// before the backend closes it: what becomes of a webhook that is just being written then is an outcome that nobody
// knows.
func newTransport(c *tls.Config, idle time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	var http1 http.Protocols
	http1.SetHTTP1(true) // HTTP/2 has rules of its own for sending again
	return &http.Transport{
		Proxy: nil, // where webhooks go is what was configured, not what the environment says
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &connection{Conn: c}, nil
		},
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialTLS(ctx, dialer, c, network, address)
		},
		DisableCompression:     true, // it would undo gzip alone, and without a bound
		DisableKeepAlives:      idle == 0,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: maxHeaderBytes,
		Protocols:              &http1,
	}
}

// dialTLS makes the handshake itself, so that what is counted is what the backend can read, without TLS' own messages.
func dialTLS(ctx context.Context, d *net.Dialer, c *tls.Config, network, address string) (net.Conn, error) {
	if c == nil {
		c = &tls.Config{}
	}
	if c.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		c = c.Clone()
		c.ServerName = host
	}
	plain, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	secured := tls.Client(plain, c)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, err
	}
	return &connection{Conn: secured}, nil
}

// connection knows whether any of a request was written to it. One request at a time has it.
type connection struct {
	net.Conn
	mu     sync.Mutex // guards the three below
	kept   bool       // it has carried a request before
	wrote  bool       // the kernel has a byte of the request, or is being given one
	sealed bool       // no more is written: somebody was told that nothing was
}

var errNotWritten = errors.New("the connection was closed before the request")

// Write writes as net.Conn does. Where an error comes with 0 bytes the kernel has taken none: the backend can't have
// read any. What is in the kernel's buffer may have been read, whatever becomes of the connection.
func (c *connection) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	first, kept := !c.wrote, c.kept
	if c.sealed {
		c.mu.Unlock()
		return 0, errNotWritten
	}
	c.wrote = true
	c.mu.Unlock()
	if first && kept && hungUp(c.Conn) {
		err = errNotWritten
	} else {
		n, err = c.Conn.Write(p)
	}
	if first && n == 0 && err != nil {
		c.mu.Lock()
		c.wrote = false
		c.mu.Unlock()
	}
	return n, err
}

// begin says that the next request has the connection.
func (c *connection) begin(kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept, c.wrote = kept, false
}

// untouched reports whether nothing of the request was written, and sees to it that nothing is any more. stale: the
// connection had been kept.
func (c *connection) untouched() (untouched, stale bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealed = true
	return !c.wrote, !c.wrote && c.kept
}
