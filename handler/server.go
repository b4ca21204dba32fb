package handler

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Bounds of one connection.
const (
	readTimeout    = 15 * time.Second // for a whole request: a slow sender can't hold a connection
	writeTimeout   = 15 * time.Second
	idleTimeout    = 2 * time.Minute // longer than a proxy's keep-alive, which then closes first
	maxHeaderBytes = 16 << 10
	keptBodyBytes  = 64 << 10 // size up to which a buffer is kept for the next body or answer
)

// Server is an HTTP server whose callers are bounded in time by its own timeouts (deadlines.go), not by fasthttp's.
type Server struct {
	*fasthttp.Server

	ReadTimeout  time.Duration // of a whole request, from its second read on
	WriteTimeout time.Duration // of an answer
	IdleTimeout  time.Duration // between an answer and the next request
}

// Serve answers requests on a listener until it is closed. Only connections that it accepts are bounded in time.
func (s *Server) Serve(l net.Listener) error { return s.Server.Serve(&timedListener{l, s}) }

// turned tells a connection that Serve accepted what fasthttp does with it.
func turned(c net.Conn, state fasthttp.ConnState) {
	if timed, ok := c.(interface{ turned(fasthttp.ConnState) }); ok {
		timed.turned(state)
	}
}

// NewServer returns an HTTP server for the handler. Everything that a stranger can send is bounded.
func NewServer(h *Handler, log *slog.Logger) *Server {
	fasthttp.SetBodySizePoolLimit(keptBodyBytes, keptBodyBytes) // fasthttp has this setting per process only
	s := &fasthttp.Server{
		Handler:                      h.Serve,
		ErrorHandler:                 respondUnreadable,
		HeaderReceived:               h.announced,
		ExpectHandler:                h.proceed,
		ConnState:                    turned,
		MaxRequestBodySize:           h.MaxBodyBytes,
		StreamRequestBody:            true,
		ReadBufferSize:               maxHeaderBytes,
		LazyRequestTime:              true, // saves one look at the clock
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true, // the default logs a request's bytes
		Logger:                       serverLog{log},
	}
	return &Server{Server: s, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout}
}

// announced keeps fasthttp from waiting for 8 KiB of a body that is refused for its length or its sender: it makes
// fasthttp read one byte ahead, the least it can be told.
func (h *Handler) announced(header *fasthttp.RequestHeader) (c fasthttp.RequestConfig) {
	length := header.ContentLength()
	path, _, _ := bytes.Cut(header.RequestURI(), []byte{'?'})
	r := routeOf(path)
	if length == 0 || !r.known {
		return c
	}
	t, why := h.door.Load().enter(r, header)
	switch {
	case why != admitted, length > t.MaxBodyBytes:
		c.MaxRequestBodySize = 1
	case t.MaxBodyBytes != h.MaxBodyBytes:
		c.MaxRequestBodySize = t.MaxBodyBytes
	}
	return c
}

// proceed answers a client that asks before it sends its body (Expect: 100-continue).
func (h *Handler) proceed(ctx *fasthttp.RequestCtx) (status int) {
	r := routeOf(canonicalPath(ctx))
	if !r.known {
		return fasthttp.StatusContinue // it gets its answer after the body
	}
	t, ok := h.comesIn(ctx, r)
	if !ok {
		sandbox(&ctx.Response.Header)
		return ctx.Response.StatusCode()
	}
	if ctx.Request.Header.ContentLength() > t.MaxBodyBytes {
		respondUnreadable(ctx, fasthttp.ErrBodyTooLarge)
		return fasthttp.StatusRequestEntityTooLarge
	}
	return fasthttp.StatusContinue
}

// unreadBytes is how much of an unread body fasthttp itself reads and drops to keep the connection. If more is coming,
// it closes the connection.
const unreadBytes = 256 << 10

// letFinish drains an unwanted body if fasthttp would close the connection on it: the sender must reach the end of its
// body to see the answer.
func letFinish(ctx *fasthttp.RequestCtx) {
	length := ctx.Request.Header.ContentLength()
	if ctx.RequestBodyStream() != nil && (length < 0 || length > unreadBytes) {
		ctx.SetConnectionClose()
		drain(ctx.Conn())
	}
}

// respondUnreadable answers bytes that fasthttp could not read as a request.
func respondUnreadable(ctx *fasthttp.RequestCtx, err error) {
	status, detail := unreadable(err)
	if status == fasthttp.StatusRequestEntityTooLarge {
		drain(ctx.Conn())
	}
	respondDetail(ctx, status, detail)
	sandbox(&ctx.Response.Header)
}

func unreadable(err error) (status int, detail string) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return fasthttp.StatusRequestEntityTooLarge, "The body is too large"
	case errors.As(err, &small):
		return fasthttp.StatusRequestHeaderFieldsTooLarge, "The headers are too large"
	case errors.As(err, &timeout) && timeout.Timeout():
		return fasthttp.StatusRequestTimeout, "The request came too slowly"
	}
	return fasthttp.StatusBadRequest, "The request is not valid HTTP"
}

// Bounds on draining an unwanted body.
const (
	drainBytes = 64 << 20
	drainTime  = 2 * time.Second
	drainPause = 200 * time.Millisecond // if no byte comes for this long, the body has ended
)

// drain reads and drops what a client sends until it pauses. Most clients read nothing before they have sent all, and a
// connection that is closed with unread bytes is reset: without this, they would never see the answer.
func drain(c net.Conn) {
	dropped := make([]byte, 32<<10)
	start := time.Now()
	for left := drainBytes; left > 0 && time.Since(start) < drainTime; {
		if c.SetReadDeadline(time.Now().Add(drainPause)) != nil {
			return
		}
		n, err := c.Read(dropped)
		if err != nil {
			return
		}
		left -= n
	}
}

// serverLog receives fasthttp's messages about connections and logs them at debug: none of them calls for action.
type serverLog struct{ log *slog.Logger }

// Printf logs the kind of an error rather than its text: fasthttp quotes the bytes that it could not read, which may be
// private.
func (l serverLog) Printf(format string, args ...any) {
	for i, arg := range args {
		var network *net.OpError
		if err, ok := arg.(error); ok && !errors.As(err, &network) {
			_, args[i] = unreadable(err)
		}
	}
	l.log.Debug("connection", "message", fmt.Sprintf(format, args...))
}

// rarely limits a message that could repeat at a high rate: now returns true at most once every rareness.
type rarely struct{ last atomic.Int64 }

const rareness = 5 * time.Second

func (r *rarely) now() bool {
	now, last := time.Now().UnixNano(), r.last.Load()
	return now-last > int64(rareness) && r.last.CompareAndSwap(last, now)
}
