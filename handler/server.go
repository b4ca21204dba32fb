package handler

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// What one connection may cost.
const (
	readTimeout    = 15 * time.Second // for a whole request, so that a slow sender can't hold a connection
	writeTimeout   = 15 * time.Second
	idleTimeout    = 2 * time.Minute // longer than a proxy's keep-alive, which then closes first
	maxHeaderBytes = 16 << 10
	keptBodyBytes  = 64 << 10 // of a buffer that a kept connection has for the next body, or answer
)

// NewServer returns a server of the handler, bounded in all that a stranger can send.
func NewServer(h *Handler, log *slog.Logger) *fasthttp.Server {
	fasthttp.SetBodySizePoolLimit(keptBodyBytes, keptBodyBytes) // which it has for the whole process only
	return &fasthttp.Server{
		Handler:                      h.Serve,
		ErrorHandler:                 respondUnreadable,
		HeaderReceived:               h.announced,
		ExpectHandler:                h.proceed,
		MaxRequestBodySize:           h.MaxBodyBytes,
		StreamRequestBody:            true,
		ReadBufferSize:               maxHeaderBytes,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true, // the default logs a request's bytes
		Logger:                       serverLog{log},
	}
}

// allowWrite gives an answer its time where fasthttp does not: on a connection that was kept, the deadline is still
// that of the answer before, and may be over.
func allowWrite(c net.Conn) { _ = c.SetWriteDeadline(time.Now().Add(writeTimeout)) }

// announced keeps fasthttp from waiting for 8 KiB of a body that is refused for its length: one byte is the least that
// it can be told to read ahead.
func (h *Handler) announced(header *fasthttp.RequestHeader) (c fasthttp.RequestConfig) {
	if header.ContentLength() > h.MaxBodyBytes {
		c.MaxRequestBodySize = 1
	}
	return c
}

// proceed lets a client that asks first (Expect: 100-continue) send its body.
func (h *Handler) proceed(ctx *fasthttp.RequestCtx) (status int) {
	allowWrite(ctx.Conn())
	if ctx.Request.Header.ContentLength() > h.MaxBodyBytes {
		respondUnreadable(ctx, fasthttp.ErrBodyTooLarge)
		return fasthttp.StatusRequestEntityTooLarge
	}
	return fasthttp.StatusContinue
}

// unreadBytes of a body that nobody has read are dropped by fasthttp. Where more is on its way it closes the
// connection.
const unreadBytes = 256 << 10

// letFinish lets the sender of a body that is not wanted come to its end, so that it sees the answer.
func letFinish(ctx *fasthttp.RequestCtx) {
	length := ctx.Request.Header.ContentLength()
	if ctx.RequestBodyStream() != nil && (length < 0 || length > unreadBytes) {
		ctx.SetConnectionClose()
		drain(ctx.Conn())
	}
}

// respondUnreadable answers what fasthttp could not read as a request.
func respondUnreadable(ctx *fasthttp.RequestCtx, err error) {
	allowWrite(ctx.Conn())
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

// How much of a body that is too large is read and dropped.
const (
	drainBytes = 64 << 20
	drainTime  = 2 * time.Second
	drainPause = 200 * time.Millisecond // without a byte for that long: it was sent
)

// drain lets the sender of a body that is too large come to its end. Most read nothing before that, and a connection
// that is closed with bytes unread is reset: they would never see the answer.
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

// serverLog takes what fasthttp has to say of connections: nothing that a person must act on.
type serverLog struct{ log *slog.Logger }

// Printf tells an error by its kind: fasthttp quotes what it could not read, which may be private.
func (l serverLog) Printf(format string, args ...any) {
	for i, arg := range args {
		var network *net.OpError
		if err, ok := arg.(error); ok && !errors.As(err, &network) {
			_, args[i] = unreadable(err)
		}
	}
	l.log.Debug("connection", "message", fmt.Sprintf(format, args...))
}

// rarely is a thing that is said at most every few seconds, however often it happens.
type rarely struct{ last atomic.Int64 }

const rareness = 5 * time.Second

func (r *rarely) now() bool {
	now, last := time.Now().UnixNano(), r.last.Load()
	return now-last > int64(rareness) && r.last.CompareAndSwap(last, now)
}
