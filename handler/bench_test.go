package handler_test

import (
	"io"
	"testing"

	"github.com/valyala/fasthttp"
)

// BenchmarkReplay measures the replay of a finished webhook, from the bytes of its request to those of its answer,
// without the network.
func BenchmarkReplay(b *testing.B) {
	h := onReal(b)
	replay(b, h, h.open(options()))
}

func replay(b *testing.B, h *testbed, r *replica) {
	h.expect(r.post(webhook), 200, success(`{"execution":1}`), "Idempotency-Status: executed", named, first)
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.SetRequestURI("/webhook/cognigy")
	ctx.Request.Header.SetContentType("application/json")
	ctx.Request.SetBodyString(webhook)
	for range 3 {
		r.Serve(&ctx)
		ctx.Response.Reset()
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Serve(&ctx)
		if ctx.Response.StatusCode() != 200 {
			b.Fatal(ctx.Response.String())
		}
		ctx.Response.Reset()
	}
}

// BenchmarkReplaySealed measures the same with results sealed in Redis: a result is opened once and then kept.
func BenchmarkReplaySealed(b *testing.B) {
	h := onReal(b)
	replay(b, h, h.openSealed("one"))
}

// BenchmarkServedReplay measures the same together with the server's own work: everything but the network.
func BenchmarkServedReplay(b *testing.B) {
	h := onReal(b)
	r := h.open(options())
	h.expect(r.post(webhook), 200, success(`{"execution":1}`), "Idempotency-Status: executed", named, first)
	again := &again{request: []byte(measured(webhook)), times: 1000}
	_ = r.server.ServeConn(again)
	again.times = b.N
	b.ReportAllocs()
	b.ResetTimer()
	if err := r.server.ServeConn(again); err != nil {
		b.Fatal(err)
	}
}

// again is a connection that delivers the same request a given number of times.
type again struct {
	wire
	request []byte
	times   int
}

func (a *again) Read(p []byte) (int, error) {
	if a.times == 0 {
		return 0, io.EOF
	}
	a.times--
	return copy(p, a.request), nil
}
