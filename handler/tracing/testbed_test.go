package tracing_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/handler/tracing"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/proc"
	"github.com/oncegate/oncegate/internal/tracetest"
)

// replica is a gateway that sends traces to a receiver.
type replica struct {
	t    testing.TB
	url  string
	log  *proc.Tail
	main *handler.Gateway
	stop func()
}

// start starts a gateway in an environment that names a receiver. env are further variables, each name=value.
func start(t testing.TB, to string, l logic.Logic, change func(*config.Config), env ...string) *replica {
	t.Helper()
	set := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": to, "OTEL_BSP_SCHEDULE_DELAY": "10"}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		set[name] = value
	}
	for name, value := range set { // the library reads some by itself
		t.(interface{ Setenv(name, value string) }).Setenv(name, value)
	}
	c := config.Default()
	c.Upkeep.MetricsFlush = 20 * time.Millisecond
	c.Execution.Settle, c.Execution.WaitTimeout = 0, time.Minute // a busy machine is no slow backend
	c.Log.Executions = config.ExecutionsAll
	if change != nil {
		change(&c)
	}
	r := &replica{t: t, log: new(proc.Tail)}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	gateway, err := handler.Open(t.Context(), c, l, log)
	if err != nil {
		t.Fatal(err)
	}
	tracer, err := tracing.Open(tracing.Options{
		Version: "7", Replica: "one", Getenv: func(name string) string { return set[name] }, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	gateway.Trace(tracer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.main, r.url = gateway, "http://"+listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = gateway.Serve(ctx, listener)
	}()
	r.stop = sync.OnceFunc(func() {
		stop()
		<-ended
	})
	t.Cleanup(r.stop)
	return r
}

// post sends a webhook, with headers, each name: value, and returns the status of its answer.
func (r *replica) post(sequence int, header ...string) (status int) {
	body := fmt.Sprintf(`{"dialogId":"planted-dialog","nodeId":"n","sequence":%d,"variables":{"card":"planted-card"}}`,
		sequence)
	request, err := http.NewRequest(http.MethodPost, r.url+"/webhook/cognigy", strings.NewReader(body))
	if err != nil {
		r.t.Error(err)
		return 0
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		request.Header.Add(name, value)
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Error(err)
		return 0
	}
	defer func() { _ = reply.Body.Close() }()
	_, _ = io.Copy(io.Discard, reply.Body)
	return reply.StatusCode
}

// the returns the spans with a name, once there are so many.
func the(t testing.TB, r *tracetest.Receiver, name string, want int) (spans []tracetest.Span) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d spans %s were sent", want, name), func() bool {
		spans = slices.DeleteFunc(r.Spans(), func(s tracetest.Span) bool { return s.Name != name })
		return len(spans) == want
	})
	return spans
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so within a minute: %s", what)
		}
	}
}

const server = "POST /webhook/cognigy"

// done is logic that succeeds.
func done(context.Context, logic.Webhook) (logic.Result, error) {
	return logic.JSON(map[string]string{"booked": "planted-result"})
}
