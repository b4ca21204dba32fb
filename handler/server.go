package handler

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// What one connection may cost.
const (
	readTimeout    = 15 * time.Second // for a whole request, so that a slow sender can't hold a connection
	writeTimeout   = 15 * time.Second
	idleTimeout    = 2 * time.Minute // longer than a proxy's keep-alive, which then closes first
	maxHeaderBytes = 16 << 10
)

// NewServer returns a server of the handler, bounded in all that a stranger can send.
func NewServer(h *Handler, maxBodyBytes int, log *slog.Logger) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      h.Serve,
		ErrorHandler:                 respondUnreadable,
		MaxRequestBodySize:           maxBodyBytes,
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

// respondUnreadable answers what fasthttp could not read as a request.
func respondUnreadable(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		respondDetail(ctx, fasthttp.StatusRequestEntityTooLarge, "The body is too large")
	case errors.As(err, &small):
		respondDetail(ctx, fasthttp.StatusRequestHeaderFieldsTooLarge, "The headers are too large")
	case errors.As(err, &timeout) && timeout.Timeout():
		respondDetail(ctx, fasthttp.StatusRequestTimeout, "The request came too slowly")
	default:
		respondDetail(ctx, fasthttp.StatusBadRequest, "The request is not valid HTTP")
	}
}

// serverLog takes what fasthttp has to say of connections: nothing that a person must act on.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Printf(format string, args ...any) {
	l.log.Debug("connection", "message", fmt.Sprintf(format, args...))
}
