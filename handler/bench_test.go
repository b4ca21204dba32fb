package handler_test

import (
	"testing"

	"github.com/valyala/fasthttp"
)

// BenchmarkReplay is a duplicate of a finished webhook from the bytes of its request to those of its answer, without
// the network.
func BenchmarkReplay(b *testing.B) {
	h := onReal(b)
	r := h.open(options())
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
