package upstream

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

const (
	// A backend whose address does not answer is told from one that is slow.
	dialTimeout = 5 * time.Second
	// Kept connections go before the backend closes them (Node, uvicorn and Apache do after 5 s): a webhook that is just
	// being written to a closing connection is an outcome that nobody knows.
	idleTimeout = 4 * time.Second
	// More than executions at once, usually: a burst leaves connections for the next one.
	maxIdle        = 512
	maxHeaderBytes = 64 << 10
)

func newTransport(c *tls.Config) *http.Transport {
	if c != nil {
		c = c.Clone() // net/http adds to it
	}
	var http1 http.Protocols
	http1.SetHTTP1(true) // HTTP/2 has rules of its own for sending again
	return &http.Transport{
		Proxy:                  nil, // where webhooks go is what was configured, not what the environment says
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        c,
		TLSHandshakeTimeout:    dialTimeout,
		DisableCompression:     true, // results are stored as they come
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		Protocols:              &http1,
	}
}
