package handler_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/gate"
)

// FuzzFraming gives the same bytes to the server and to a reader that follows RFC 9112 to the letter. Each request that
// the server accepts must be the same request for that reader. Otherwise a proxy before us could see a different one.
func FuzzFraming(f *testing.F) {
	for _, s := range strangers() {
		if len(s.sends) < 4<<10 {
			f.Add([]byte(s.sends))
		}
	}
	log := slog.New(slog.DiscardHandler)
	// no request reaches the gate
	shut := handler.New(gate.New(gate.Options{}), nil, handler.Options{APIKeys: []string{"unknown"}, MaxBodyBytes: small,
		Log: log})
	f.Fuzz(func(t *testing.T, sent []byte) {
		server := handler.NewServer(shut, log)
		rest := string(sent)
		server.Handler = func(ctx *fasthttp.RequestCtx) {
			shut.Serve(ctx)
			switch status := ctx.Response.StatusCode(); {
			case status == fasthttp.StatusInternalServerError && string(ctx.Path()) != "/readyz":
				t.Errorf("a panic: %q", sent)
			case status == fasthttp.StatusBadRequest && ctx.Response.ConnectionClose():
				return
			}
			var body []byte
			if stream := ctx.RequestBodyStream(); stream != nil {
				var err error
				if body, err = io.ReadAll(stream); err != nil || len(ctx.Request.Header.PeekTrailerKeys()) > 0 ||
					ctx.Request.Header.ContentLength() >= 0 && ctx.Request.Header.ContentLength() != len(body) {
					return // the handler would refuse it, and close the connection
				}
			}
			got := message{string(ctx.Method()), string(ctx.Request.Header.RequestURI()), string(body)}
			var want message
			if want, rest = strictly(rest); got != want {
				t.Fatalf("the server reads\n%q, by the letter it is\n%q of\n%q", got, want, sent)
			}
		}
		_ = server.ServeConn(&wire{in: bytes.NewReader(sent)}) // it has answered bytes that it could not read
	})
}

// message is a request as one reader sees it.
type message struct{ method, target, body string }

var (
	requestLine = regexp.MustCompile("^(?:\r?\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) " +
		"HTTP/([0-9]\\.[0-9])\r?\n")
	fieldLine = regexp.MustCompile("(?s)^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ " +
		"\t]*((?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)[ \t]*\r\n")
	chunkLine = regexp.MustCompile("^([0-9a-fA-F]+)[ \t]*(?:;[^\r\n]*)?\r\n")
)

// strictly reads one request by RFC 9112 and returns the bytes that follow it. It refuses bytes that are no request,
// and a body that could be read in two ways. It accepts a request line that ends in a line feed alone, as the RFC
// allows.
func strictly(text string) (m message, rest string) {
	line := requestLine.FindStringSubmatch(text)
	if line == nil {
		return message{}, ""
	}
	m.method, m.target, rest = line[1], line[2], text[len(line[0]):]
	var lengths, encodings []string
	for !strings.HasPrefix(rest, "\r\n") {
		field := fieldLine.FindStringSubmatch(rest)
		if field == nil {
			return message{}, ""
		}
		switch strings.ToLower(field[1]) {
		case "content-length":
			lengths = append(lengths, field[2])
		case "transfer-encoding":
			encodings = append(encodings, strings.ToLower(field[2]))
		}
		rest = rest[len(field[0]):]
	}
	rest = rest[len("\r\n"):]
	switch {
	case len(lengths)+len(encodings) == 0:
		return m, rest
	case len(lengths) == 1 && len(encodings) == 0:
		length, err := strconv.ParseUint(lengths[0], 10, 31)
		if err != nil || int(length) > len(rest) {
			return message{}, ""
		}
		m.body, rest = rest[:length], rest[length:]
		return m, rest
	case len(lengths) == 0 && len(encodings) == 1 && encodings[0] == "chunked" && line[3] == "1.1":
		for {
			chunk := chunkLine.FindStringSubmatch(rest)
			if chunk == nil {
				return message{}, ""
			}
			size, err := strconv.ParseUint(chunk[1], 16, 31)
			rest = rest[len(chunk[0]):]
			if err == nil && size == 0 { // trailers may follow, and nothing that is read
				return m, ""
			}
			if err != nil || int(size)+2 > len(rest) || rest[size:size+2] != "\r\n" {
				return message{}, ""
			}
			m.body, rest = m.body+rest[:size], rest[size+2:]
		}
	}
	return message{}, ""
}

// wire is a connection whose peer has already sent everything.
type wire struct{ in *bytes.Reader }

func (w *wire) Read(p []byte) (int, error)       { return w.in.Read(p) }
func (w *wire) Write(p []byte) (int, error)      { return len(p), nil }
func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (w *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
