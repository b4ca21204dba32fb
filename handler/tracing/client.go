package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/oncegate/oncegate/internal/backoff"
)

// client sends spans by OTLP over HTTP. The library's own client would add all of gRPC to the program, a tenth of its
// size, for a package that it does not use.
type client struct {
	to      *destination
	http    *http.Client
	log     *slog.Logger
	failing bool          // the last batch was not accepted; batches are sent one at a time
	closing chan struct{} // closed: a batch is tried only once
}

func newClient(to *destination, log *slog.Logger) *client {
	return &client{to: to, log: log, closing: make(chan struct{}), http: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: to.tls, ForceAttemptHTTP2: true,
			MaxIdleConns: 1, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Start and Stop are part of otlptrace.Client.
func (c *client) Start(context.Context) error { return nil }

// Stop ends the client's connections.
func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces sends a batch until it is accepted, refused, or ctx ends. It logs the first batch that is lost, and the
// first one that is accepted again. The library gets no error, because it would log one for each batch.
func (c *client) UploadTraces(ctx context.Context, spans []*trace.ResourceSpans) error {
	// A TracesData has the same bytes as an ExportTraceServiceRequest, and its package needs no gRPC.
	body, err := proto.Marshal(&trace.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	if c.to.gzip {
		body = zipped(body)
	}
	err = c.upload(ctx, body)
	switch was := c.failing; {
	case err != nil && !was:
		c.log.Warn("traces are not delivered, and are dropped until they are", "error", err)
	case err == nil && was:
		c.log.Info("traces are delivered again")
	}
	c.failing = err != nil
	return nil
}

func zipped(body []byte) []byte {
	var small bytes.Buffer
	w := gzip.NewWriter(&small)
	_, _ = w.Write(body) // writing to memory
	_ = w.Close()
	return small.Bytes()
}

// The pauses between tries, unless the receiver asks for another pause.
const (
	firstPause   = time.Second
	longestPause = 5 * time.Second
)

func (c *client) upload(ctx context.Context, body []byte) error {
	again := backoff.Backoff{First: firstPause, Most: longestPause}
	for {
		wait, err := c.try(ctx, body)
		if err == nil || wait == 0 {
			return err
		}
		if c.failing { // one try tells whether the receiver is back
			return err
		}
		select {
		case <-time.After(max(wait, again.Next())):
		case <-ctx.Done():
			return err
		case <-c.closing:
			return err
		}
	}
}

// try sends a batch once. wait is the least time after which another try may succeed; 0: none will.
func (c *client) try(ctx context.Context, body []byte) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.to.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.to.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header = c.to.headers.Clone()
	r.Header.Set("User-Agent", "oncegate")
	r.Header.Set("Content-Type", "application/x-protobuf")
	if c.to.gzip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	response, err := c.http.Do(r)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // the URL may hold a secret
		}
		return time.Millisecond, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection is kept
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		wait = max(time.Duration(min(seconds, 60))*time.Second, time.Millisecond)
	}
	if response.StatusCode/100 != 2 {
		return wait, fmt.Errorf("the receiver answered %d", response.StatusCode)
	}
	return 0, nil
}
