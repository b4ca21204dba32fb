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
	// dialTimeout is short, so that a backend that cannot be reached is told from one that is slow.
	dialTimeout = 5 * time.Second
	// maxIdle exceeds the usual number of executions at once: after a burst, its connections serve the next burst.
	maxIdle        = 512
	maxHeaderBytes = 64 << 10
)

// newTransport returns the pool of connections. A connection is closed after it was unused for idle; if idle is 0, none
// is kept. Choose idle shorter than the backend's own timeout: if the backend closes a connection while a webhook is
// being written to it, the outcome of that webhook is unknown.
func newTransport(c *tls.Config, idle time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	var http1 http.Protocols
	http1.SetHTTP1(true) // HTTP/2 has its own rules for when a request is sent again
	return &http.Transport{
		Proxy: nil, // webhooks go where the settings say, whatever HTTP_PROXY is
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
		DisableCompression:     true, // net/http would undo only gzip, and without a bound
		DisableKeepAlives:      idle == 0,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: maxHeaderBytes,
		Protocols:              &http1,
	}
}

// dialTLS makes the TLS handshake itself, so that connection sees the bytes of the request and not those of TLS.
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

// connection knows whether any byte of a request was written to it. It carries one request at a time.
type connection struct {
	net.Conn
	mu     sync.Mutex // guards the three below
	kept   bool       // it has carried a request before
	wrote  bool       // the kernel has a byte of the request, or is being given one
	sealed bool       // Write refuses: untouched has reported what was written
}

var errNotWritten = errors.New("the connection was closed before the request")

// Write writes as net.Conn does. If it returns 0 bytes with an error, the kernel has taken none, so that the backend
// cannot have read any. A byte that the kernel has taken may have been read, whatever becomes of the connection.
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

// begin starts the next request on this connection. kept says that the connection has carried one before.
func (c *connection) begin(kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept, c.wrote = kept, false
}

// untouched reports whether no byte of the request was written, and makes later writes fail so that this stays true.
// stale also says that the connection had been kept.
func (c *connection) untouched() (untouched, stale bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealed = true
	return !c.wrote, !c.wrote && c.kept
}
