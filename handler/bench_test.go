package handler_test

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/gate"
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

// BenchmarkFirstTime is a webhook that has not come before, from the bytes of its request to those of its answer, with
// the echo logic and a real Redis, on 64 connections at once: all but the network.
func BenchmarkFirstTime(b *testing.B) { firstTimeOf(b, options(), handler.Options{}) }

// BenchmarkFirstTimeTrail measures the same with a trail that is searched by a field.
func BenchmarkFirstTimeTrail(b *testing.B) {
	o := options()
	o.Trail = 10_000
	firstTimeOf(b, o, handler.Options{TrailFields: [][]string{{"variables", "route"}}})
}

func firstTimeOf(b *testing.B, o gate.Options, of handler.Options) {
	h := onReal(b)
	h.setLogic(logic.Echo{}.Execute)
	firstTime(b, h.openWith(o, of, func(*handler.Server) {}), "POST /webhook/cognigy HTTP/1.1\r\n")
}

func firstTime(b *testing.B, r *replica, head string) {
	b.ReportAllocs()
	b.ResetTimer()
	var sequence atomic.Int64
	var connections sync.WaitGroup
	for range 64 {
		connections.Go(func() {
			if err := r.server.ServeConn(&anew{head: head, sequence: &sequence, last: int64(b.N)}); err != nil {
				b.Error(err)
			}
		})
	}
	connections.Wait()
}

// anew is a connection on which each request is another webhook, up to the last.
type anew struct {
	wire
	head     string // first lines of each request
	sequence *atomic.Int64
	last     int64
	request  []byte
}

func (a *anew) Read(p []byte) (int, error) {
	i := a.sequence.Add(1)
	if i > a.last {
		return 0, io.EOF
	}
	const headers = "Host: x\r\nContent-Type: application/json\r\nContent-Length: 124\r\n\r\n"
	const variables = `{"seats":2,"route":"HAM-MUC","name":"Ada Lovelace"}`
	a.request = fmt.Appendf(a.request[:0],
		a.head+headers+`{"dialogId":"d-0001","nodeId":"n-0001","sequence":%9d,"variables":`+variables+`}`, i)
	return copy(p, a.request), nil
}

// BenchmarkTenant compares a webhook of a tenant with one of a gateway without tenants, and with one of a gateway of a
// thousand tenants, each with a key.
func BenchmarkTenant(b *testing.B) {
	thousand := "tenants:\n"
	for i := range 1000 {
		thousand += fmt.Sprintf("  t%d: {api_keys: [key-%d]}\n", i, i)
	}
	for _, c := range []struct{ name, file, head string }{
		{"none", "", "POST /webhook/cognigy HTTP/1.1\r\n"},
		{"none, with a key", "inbound_api_keys: [key-500]\n", "POST /webhook/cognigy HTTP/1.1\r\nX-API-Key: key-500\r\n"},
		{"one", "tenants:\n  t500: {api_keys: [key-500]}\n", "POST /t/t500 HTTP/1.1\r\nX-API-Key: key-500\r\n"},
		{"a thousand", thousand, "POST /t/t500 HTTP/1.1\r\nX-API-Key: key-500\r\n"},
	} {
		h := onReal(b)
		h.setLogic(logic.Echo{}.Execute)
		r := h.shared(c.file)
		b.Run("first time/"+c.name, func(b *testing.B) { firstTime(b, r, c.head) })
		b.Run("replay/"+c.name, func(b *testing.B) {
			request := c.head + "Host: x\r\nContent-Type: application/json\r\nContent-Length: " +
				strconv.Itoa(len(webhook)) + "\r\n\r\n" + webhook
			for range 3 {
				_ = r.server.ServeConn(&again{request: []byte(request), times: 1})
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := r.server.ServeConn(&again{request: []byte(request), times: b.N}); err != nil {
				b.Fatal(err)
			}
		})
	}
}
