package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/proc"
	"github.com/oncegate/oncegate/internal/tracetest"
)

// TestTheEnvironmentSaysWhereTracesGo: the spans of the last webhooks are sent before the process ends, and their trace
// is named in the log and in the metrics.
func TestTheEnvironmentSaysWhereTracesGo(t *testing.T) {
	t.Parallel()
	to := tracetest.Start(t)
	admin := freeAddress(t)
	r := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+to.URL, "OTEL_SERVICE_NAME=bookings", "OTEL_BSP_SCHEDULE_DELAY=3600000",
		"ADMIN_LISTEN="+admin, "LOG_EXECUTIONS=all", "LOG_FORMAT=json")
	for range 2 {
		if a, err := r.send(1); err != nil || a.code != 200 {
			t.Fatalf("answer %+v, %v", a, err)
		}
	}
	scrape, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	scrape.Header.Set("Accept", "application/openmetrics-text")
	reply, err := http.DefaultClient.Do(scrape)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	scraped, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}

	r.signal(syscall.SIGTERM)
	if status := r.exit(); status != 0 {
		t.Errorf("it exits with %d:\n%s", status, r.logs())
	}
	traces := make(map[string]string)
	for _, s := range to.Spans() {
		traces[s.Name+" "+s.Attributes["oncegate.outcome"]] = s.Trace
		if s.Resource["service.name"] != "bookings" || s.Resource["service.instance.id"] == "" ||
			s.Resource["service.version"] == "" {
			t.Errorf("a span comes from %v", s.Resource)
		}
	}
	executed, replayed := traces["POST /webhook/cognigy executed"], traces["POST /webhook/cognigy replayed"]
	if executed == "" || replayed == "" || executed == replayed || traces["execute stored"] != executed {
		t.Errorf("the traces are %v", traces)
	}
	if got := r.loggedLine("execution")["trace_id"]; got != executed {
		t.Errorf("the execution's line has trace %v, want %s", got, executed)
	}
	for series, trace := range map[string]string{
		`oncegate_request_duration_seconds_bucket{outcome="executed"`: executed,
		`oncegate_request_duration_seconds_bucket{outcome="replayed"`: replayed,
		`oncegate_execution_duration_seconds_bucket{`:                 executed,
	} {
		found := false
		for line := range strings.Lines(string(scraped)) {
			found = found || strings.HasPrefix(line, series) && strings.Contains(line, `# {trace_id="`+trace+`"}`)
		}
		if !found {
			t.Errorf("no bucket of %s has the example %s", series, trace)
		}
	}
}

// TestTracesThatMakeNoSenseAreOffAndServeAllTheSame: variables meant for another program must not stop this one.
func TestTracesThatMakeNoSenseAreOffAndServeAllTheSame(t *testing.T) {
	t.Parallel()
	r := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
	if a, err := r.send(1); err != nil || a.code != 200 {
		t.Errorf("answer %+v, %v", a, err)
	}
	if !strings.Contains(r.logs(), "traces are off") {
		t.Errorf("nothing is said of it:\n%s", r.logs())
	}
}

// TestAReceiverThatIsAwayDoesNotHoldTheEnd: it has three seconds.
func TestAReceiverThatIsAwayDoesNotHoldTheEnd(t *testing.T) {
	t.Parallel()
	r := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+freeAddress(t))
	if a, err := r.send(1); err != nil || a.code != 200 {
		t.Errorf("answer %+v, %v", a, err)
	}
	began := time.Now()
	r.signal(syscall.SIGTERM)
	if status := r.exit(); status != 0 {
		t.Errorf("it exits with %d", status)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the end takes %v:\n%s", took, r.logs())
	}
	if n := strings.Count(r.logs(), "traces"); n != 1 {
		t.Errorf("%d lines tell of traces that were not delivered, want 1:\n%s", n, r.logs())
	}
}

// freeAddress is one on which nobody listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + port
}
