package tracing_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	memory "go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/handler/tracing"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/span"
	"github.com/oncegate/oncegate/internal/tlsfile"
	"github.com/oncegate/oncegate/internal/tlstest"
	"github.com/oncegate/oncegate/internal/tracetest"
	"github.com/oncegate/oncegate/internal/upstream"
)

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
	traceparent  = "traceparent: 00-" + callersTrace + "-" + callersSpan + "-01"
)

// TestAWebhookIsFollowedFromItsCallerToTheBackend: one trace, from the span that the caller names to the one that the
// backend is told.
func TestAWebhookIsFollowedFromItsCallerToTheBackend(t *testing.T) {
	var told atomic.Pointer[http.Request]
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told.Store(r)
		w.WriteHeader(http.StatusCreated)
	}))
	defer backend.Close()
	u, err := upstream.New(upstream.Options{URL: backend.URL, MaxResultBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	to := tracetest.Start(t)
	r := start(t, to.URL, u, func(c *config.Config) { c.HTTP.ForwardHeaders = "traceparent" },
		"OTEL_RESOURCE_ATTRIBUTES=service.namespace=flows,service.instance.id=two")
	if status := r.post(1, traceparent, "tracestate: vendor=x"); status != http.StatusOK {
		t.Fatalf("it is answered %d", status)
	}
	s, claim, execute, store := the(t, to, server, 1)[0], the(t, to, "claim", 1)[0], the(t, to, "execute", 1)[0],
		the(t, to, "store", 1)[0]
	of := fingerprint.Of([]byte("planted-dialog"), []byte("n"), 1).String()
	for _, c := range []struct {
		span         tracetest.Span
		kind, parent string
		attributes   map[string]string
	}{
		{s, "server", callersSpan, map[string]string{
			"http.request.method": "POST", "http.route": "/webhook/cognigy", "http.response.status_code": "200",
			"oncegate.fingerprint": of, "oncegate.outcome": "executed", "oncegate.attempt": "1",
		}},
		{claim, "internal", s.ID, map[string]string{"oncegate.outcome": "claimed", "oncegate.attempt": "1"}},
		{execute, "client", s.ID, map[string]string{
			"oncegate.fingerprint": of, "oncegate.outcome": "stored", "oncegate.attempt": "1", "oncegate.cause": "first",
			"oncegate.in_doubt": "false", "http.response.status_code": "201",
		}},
		{store, "internal", s.ID, map[string]string{"oncegate.outcome": "stored", "oncegate.attempt": "1"}},
	} {
		if c.span.Kind != c.kind || c.span.Trace != callersTrace || c.span.Parent != c.parent || c.span.Failed ||
			len(c.span.Links) > 0 || c.span.State != "vendor=x" || c.span.Took < 0 {
			t.Errorf("a span is %+v, want a %s below %s", c.span, c.kind, c.parent)
		}
		if !maps.Equal(c.span.Attributes, c.attributes) {
			t.Errorf("%s has %v, want %v", c.span.Name, c.span.Attributes, c.attributes)
		}
		for name, want := range map[string]string{
			"service.name": "oncegate", "service.version": "7", "service.namespace": "flows", "service.instance.id": "two",
		} {
			if got := c.span.Resource[name]; got != want {
				t.Errorf("its %s is %q, want %q", name, got, want)
			}
		}
	}
	header := told.Load().Header
	if got, want := header["Traceparent"], []string{"00-" + callersTrace + "-" + execute.ID + "-01"}; !slices.Equal(got,
		want) {
		t.Errorf("the backend is told %q, want %q", got, want)
	}
	if got := header.Get("Tracestate"); got != "vendor=x" {
		t.Errorf("the backend gets the tracestate %q", got)
	}
	if !strings.Contains(r.log.String(), "trace_id="+callersTrace) {
		t.Errorf("the execution's line has no trace:\n%s", r.log)
	}
}

// TestADuplicatePointsToTheExecution: a duplicate's span links to the execution on its replica, whether it waits for
// it, is told that it still runs, or comes when it is over.
func TestADuplicatePointsToTheExecution(t *testing.T) {
	to := tracetest.Start(t)
	entered, release := make(chan struct{}), make(chan struct{})
	held := logic.Func(func(ctx context.Context, w logic.Webhook) (logic.Result, error) {
		if w.Sequence == 1 {
			close(entered)
			<-release
		}
		return done(ctx, w)
	})
	redis := redistest.Start(t).URL()
	onRedis := func(c *config.Config) { c.Redis.URL = config.Secret(redis) }
	one := start(t, to.URL, held, onRedis)
	two := start(t, to.URL, held, onRedis)
	var all sync.WaitGroup
	all.Go(func() { one.post(1) })
	<-entered
	one.post(1, "Prefer: wait=0")
	the(t, to, server, 1)
	for range 3 {
		all.Go(func() { one.post(1) })
	}
	eventually(t, "they wait", func() bool { return one.main.Watch().Gate.Snapshot().Waiting == 4 })
	close(release)
	all.Wait()
	one.post(1)
	two.post(1) // which learns of it by the script
	two.post(1)

	executed := the(t, to, "execute", 1)[0]
	outcomes := make(map[string]int)
	for _, s := range the(t, to, server, 8) {
		outcome := s.Attributes["oncegate.outcome"]
		outcomes[outcome]++
		linked := slices.Equal(s.Links, []string{executed.ID})
		switch {
		case s.ID == executed.Parent:
			if outcome != "executed" || len(s.Links) > 0 {
				t.Errorf("the request that executes is %q and points to %v", outcome, s.Links)
			}
		case s.Trace == executed.Trace:
			t.Errorf("a duplicate is in the trace of another caller: %+v", s)
		case linked:
			outcomes["linked"]++
		case len(s.Links) > 0:
			t.Errorf("a duplicate points to %v", s.Links)
		}
	}
	if want := map[string]int{"executed": 1, "still_processing": 1, "waited": 3, "replayed": 3, "linked": 5}; !maps.Equal(
		outcomes, want) {
		t.Errorf("requests were %v, want %v", outcomes, want)
	}
}

// TestAFailureIsAnError: of the execution by its reason, and of the request by its status.
func TestAFailureIsAnError(t *testing.T) {
	to := tracetest.Start(t)
	var executions atomic.Int64
	r := start(t, to.URL, logic.Func(func(ctx context.Context, w logic.Webhook) (logic.Result, error) {
		switch executions.Add(1) {
		case 1:
			return logic.Result{}, errors.New("planted-error")
		case 2:
			panic("planted-panic")
		case 3:
			return logic.Result{Status: 404, ContentType: "text/plain", Body: []byte("no")}, nil
		}
		return done(ctx, w)
	}), nil)
	for _, want := range []int{500, 500, 404} {
		if status := r.post(1); status != want {
			t.Fatalf("it is answered %d, want %d", status, want)
		}
	}
	type seen struct {
		failed                       bool
		why, outcome, cause, attempt string
	}
	var got []seen
	for _, s := range the(t, to, "execute", 3) {
		got = append(got, seen{s.Failed, s.Why, s.Attributes["oncegate.outcome"], s.Attributes["oncegate.cause"],
			s.Attributes["oncegate.attempt"]})
	}
	if want := []seen{
		{true, "error", "failed", "first", "1"},
		{true, "panic", "failed", "retry after error", "2"},
		{false, "", "rejected", "retry after panic", "3"},
	}; !slices.Equal(got, want) {
		t.Errorf("executions are %v, want %v", got, want)
	}
	for i, s := range the(t, to, server, 3) {
		if s.Failed != (i < 2) {
			t.Errorf("request %d is a failure: %v, want %v", i+1, s.Failed, i < 2)
		}
	}
	if text := to.Text(); strings.Contains(text, "planted") || text == "" {
		t.Errorf("a trace has what it must not have: %q", text)
	}
}

// TestNothingThatIsSecretIsInATrace searches the spans for values of payloads and results, keys and tokens.
func TestNothingThatIsSecretIsInATrace(t *testing.T) {
	to := tracetest.Start(t)
	r := start(t, to.URL, logic.Func(done), func(c *config.Config) { c.HTTP.InboundAPIKeys = "planted-key" },
		"OTEL_EXPORTER_OTLP_HEADERS=Authorization=planted%20token")
	r.post(1, "X-API-Key: planted-key")
	r.post(1, "X-API-Key: planted-key")
	r.post(1, "X-API-Key: another", traceparent)
	spans := the(t, to, server, 2) // a caller that is not let in makes no trace
	if text := to.Text(); strings.Contains(text, "planted") || len(spans) != 2 {
		t.Errorf("a trace has a secret: %q", text)
	}
	if strings.Contains(r.log.String(), "planted token") {
		t.Errorf("the log has a secret:\n%s", r.log)
	}
	if got := to.Last().Header.Get("Authorization"); got != "planted token" {
		t.Errorf("the receiver gets the header %q", got)
	}
}

// TestOnlySampledTracesAreSentAndAllAreHandedOn: the sampler is the environment's, and a caller's decision counts.
func TestOnlySampledTracesAreSentAndAllAreHandedOn(t *testing.T) {
	to := tracetest.Start(t)
	var within atomic.Value
	r := start(t, to.URL, logic.Func(func(ctx context.Context, w logic.Webhook) (logic.Result, error) {
		within.Store(trace.SpanContextFromContext(ctx))
		return done(ctx, w)
	}), nil, "OTEL_TRACES_SAMPLER=parentbased_always_off")
	r.post(1)
	c, _ := within.Load().(trace.SpanContext)
	if !c.IsValid() || c.IsSampled() {
		t.Errorf("the logic of one that is not sampled works within %v", c)
	}
	if id := "trace_id=" + c.TraceID().String(); !strings.Contains(r.log.String(), id) {
		t.Errorf("its line has no %s:\n%s", id, r.log)
	}
	if all := r.main.Watch().Gate.Exemplars(); len(all) > 0 {
		t.Errorf("a trace that nobody finds is an example: %v", all)
	}
	r.post(2, traceparent)
	the(t, to, server, 1)
	executed := the(t, to, "execute", 1)[0]
	if c, _ := within.Load().(trace.SpanContext); c.SpanID().String() != executed.ID || executed.Trace != callersTrace {
		t.Errorf("the logic works within %v, and its span is %+v", c, executed)
	}
	if all := r.main.Watch().Gate.Exemplars(); len(all) != 1 || all[0].Trace != callersTrace {
		t.Errorf("the examples are %v", all)
	}
}

// TestATenantIsNamed: in the route as a place, and in the attributes by its name.
func TestATenantIsNamed(t *testing.T) {
	to := tracetest.Start(t)
	r := start(t, to.URL, logic.Func(done), func(c *config.Config) {
		c.Tenants = []config.Tenant{{Name: "acme", Door: config.Door{Open: true}, HTTP: c.HTTP, Execution: c.Execution,
			Upstream: c.Upstream}}
	})
	reply, err := http.Post(r.url+"/t/acme", "application/json", strings.NewReader(
		`{"dialogId":"d","nodeId":"n","sequence":1}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	for _, s := range []tracetest.Span{the(t, to, "POST /t/{tenant}", 1)[0], the(t, to, "execute", 1)[0]} {
		if s.Attributes["oncegate.tenant"] != "acme" {
			t.Errorf("%s has %v", s.Name, s.Attributes)
		}
	}
}

// TestAReceiverThatIsAwayCostsALine: webhooks are answered as always, spans without room are dropped, and traces are
// sent again when the receiver is back.
func TestAReceiverThatIsAwayCostsALine(t *testing.T) {
	to := tracetest.Start(t)
	hangs := make(chan struct{})
	to.Fails(func(w http.ResponseWriter) bool {
		<-hangs
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	r := start(t, to.URL, logic.Func(done), nil, "OTEL_BSP_EXPORT_TIMEOUT=2000", "OTEL_BSP_MAX_QUEUE_SIZE=16",
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE=8")
	began := time.Now()
	for i := range 200 {
		if status := r.post(i); status != http.StatusOK {
			t.Fatalf("webhook %d is answered %d", i, status)
		}
	}
	took := time.Since(began)
	eventually(t, "it is logged", func() bool { return strings.Contains(r.log.String(), "traces are not delivered") })
	if took > 30*time.Second {
		t.Errorf("200 webhooks took %v", took)
	}
	to.Fails(nil)
	close(hangs)
	eventually(t, "traces come again", func() bool {
		r.post(1)
		return len(to.Spans()) > 0 && strings.Contains(r.log.String(), "traces are delivered again")
	})
	if n := strings.Count(r.log.String(), "traces are not delivered"); n != 1 {
		t.Errorf("it is logged %d times:\n%s", n, r.log)
	}
	if n := len(to.Spans()); n > 400 { // of 800
		t.Errorf("%d spans were kept, and have room for 16 and two batches", n)
	}
}

// TestAReceiverThatAsksForPatienceGetsIt: a batch that was not taken is sent again, and one that makes no sense is not.
func TestAReceiverThatAsksForPatienceGetsIt(t *testing.T) {
	to := tracetest.Start(t)
	var tries atomic.Int64
	to.Fails(func(w http.ResponseWriter) bool {
		if tries.Add(1) > 1 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	r := start(t, to.URL, logic.Func(done), nil, "OTEL_EXPORTER_OTLP_COMPRESSION=gzip")
	r.post(1)
	the(t, to, server, 1)
	to.Fails(func(w http.ResponseWriter) bool {
		tries.Store(100)
		w.WriteHeader(http.StatusBadRequest)
		return true
	})
	r.post(2)
	eventually(t, "it is refused", func() bool { return strings.Contains(r.log.String(), "the receiver answered 400") })
}

// TestTheEndSendsWhatIsLeft: within the time for it, also if nobody takes it.
func TestTheEndSendsWhatIsLeft(t *testing.T) {
	to := tracetest.Start(t)
	r := start(t, to.URL, logic.Func(done), nil, "OTEL_BSP_SCHEDULE_DELAY=3600000")
	r.post(1)
	if spans := to.Spans(); len(spans) > 0 {
		t.Errorf("there are %d before the end", len(spans))
	}
	r.stop()
	if spans := to.Spans(); len(spans) != 4 {
		t.Errorf("there are %d spans at the end, want 4", len(spans))
	}
	soon := func(c *config.Config) { c.HTTP.ShutdownTimeout = 3 * time.Second }
	nobody := start(t, "http://127.0.0.1:1", logic.Func(done), soon, "OTEL_BSP_SCHEDULE_DELAY=3600000")
	nobody.post(1)
	nobody.stop()
	if text := nobody.log.String(); !strings.Contains(text, "traces are not delivered") ||
		strings.Contains(text, "the last traces were not delivered") {
		t.Errorf("a receiver that is away is tried until the time is over:\n%s", text)
	}

	hangs := make(chan struct{})
	defer close(hangs)
	to.Fails(func(http.ResponseWriter) bool {
		<-hangs
		return true
	})
	r = start(t, to.URL, logic.Func(done), soon, "OTEL_BSP_SCHEDULE_DELAY=3600000")
	r.post(1)
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("a receiver that hangs holds the end for %v", took)
	}
	if text := r.log.String(); !strings.Contains(text, "the last traces were not delivered") {
		t.Errorf("nothing is said of a receiver that hangs:\n%s", text)
	}
}

// TestAStateWithoutItsTraceIsDropped: a traceparent that makes no sense begins a new trace, and its tracestate belongs
// to the caller's trace.
func TestAStateWithoutItsTraceIsDropped(t *testing.T) {
	to := tracetest.Start(t)
	var told atomic.Pointer[map[string]string]
	r := start(t, to.URL, logic.Func(func(ctx context.Context, w logic.Webhook) (logic.Result, error) {
		headers := span.Headers(ctx)
		told.Store(&headers)
		return done(ctx, w)
	}), nil)
	for i, header := range []string{"traceparent: 00-0-0-01", traceparent[:len(traceparent)-1]} {
		r.post(i, header, "tracestate: vendor=x")
		s := the(t, to, "execute", i+1)[i]
		state, there := (*told.Load())["tracestate"]
		if s.Trace == callersTrace || s.State != "" || state != "" || !there {
			t.Errorf("after %q the span is %+v, and its tracestate %q", header, s, state)
		}
	}
}

// TestAReceiverMayWantACertificate: its own and that of the sender are issued by an authority that is named.
func TestAReceiverMayWantACertificate(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	authority.Issue("receiver")
	authority.Issue("sender")
	secured, err := tlsfile.Load(authority.Path("ca.crt"), authority.Path("receiver.crt"), authority.Path("receiver.key"))
	if err != nil {
		t.Fatal(err)
	}
	secured.ClientCAs, secured.ClientAuth = secured.RootCAs, tls.RequireAndVerifyClientCert
	to := new(tracetest.Receiver)
	server := httptest.NewUnstartedServer(to)
	server.TLS = secured
	server.StartTLS()
	defer server.Close()
	r := start(t, server.URL, logic.Func(done), nil, "OTEL_EXPORTER_OTLP_CERTIFICATE="+authority.Path("ca.crt"),
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE="+authority.Path("sender.crt"),
		"OTEL_EXPORTER_OTLP_CLIENT_KEY="+authority.Path("sender.key"))
	r.post(1)
	the(t, to, "execute", 1)
}

// TestAProgramsOwnProviderGetsTheSpans, and is the program's to shut down.
func TestAProgramsOwnProviderGetsTheSpans(t *testing.T) {
	kept := memory.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(kept))
	gateway, err := handler.Open(t.Context(), config.Default(), logic.Func(func(ctx context.Context,
		w logic.Webhook) (logic.Result, error) {
		_, own := provider.Tracer("own").Start(ctx, "own")
		defer own.End()
		return done(ctx, w)
	}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	gateway.Trace(tracing.New(provider))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- gateway.Serve(ctx, listener) }()
	r := &replica{t: t, url: "http://" + listener.Addr().String()}
	r.post(1)
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	parents := make(map[string]trace.SpanID)
	ids := make(map[string]trace.SpanID)
	for _, s := range kept.GetSpans() {
		parents[s.Name], ids[s.Name] = s.Parent.SpanID(), s.SpanContext.SpanID()
	}
	if len(ids) != 5 || parents["own"] != ids["execute"] || parents["execute"] != ids[server] {
		t.Errorf("the provider has %v, below %v", ids, parents)
	}
	if _, s := provider.Tracer("own").Start(t.Context(), "after"); !s.IsRecording() {
		t.Error("the gateway has shut its program's provider down")
	}
}
