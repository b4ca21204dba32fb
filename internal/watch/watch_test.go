package watch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/proc"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/upstream"
	"github.com/oncegate/oncegate/internal/watch"
)

// replica is a gateway on loopback with its admin listener.
type replica struct {
	t          testing.TB
	url, admin string
	gate       *gate.Gate
	gateway    *handler.Gateway
	backends   *watch.Backends
	log        *lockedBuffer
	stop       func()
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// freeAddress is one on which nobody listens now.
func freeAddress(t testing.TB) string {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + port
}

// start starts a replica with settings of its own, after a preparation that runs before it serves.
func start(t testing.TB, l logic.Logic, change func(*config.Config), before ...func(*handler.Gateway)) *replica {
	t.Helper()
	c := config.Default()
	c.Admin.Listen = freeAddress(t)
	c.Upkeep.MetricsFlush = 20 * time.Millisecond
	c.Execution.Settle, c.Execution.WaitTimeout = 0, time.Minute // a busy machine is no slow backend
	change(&c)
	r := &replica{t: t, admin: "http://" + c.Admin.Listen, log: new(lockedBuffer)}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	gateway, err := handler.Open(t.Context(), c, l, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range before {
		do(gateway)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.gate = gateway.Watch().Gate
	r.url = "http://" + listener.Addr().String() + "/webhook/cognigy"
	r.gateway, r.backends = gateway, new(watch.Backends)
	if u, ok := l.(*upstream.Upstream); ok {
		r.backends.Add("", u)
	}
	watchers, err := watch.Open(watch.Gateway{
		Config: &c, Watch: gateway.Watch(), Backends: r.backends, Address: listener.Addr(), Version: "test",
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	gateway.AtEnd(watchers.Close)
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

// get returns a page of the admin listener.
func (r *replica) get(path string) string {
	r.t.Helper()
	reply, err := http.Get(r.admin + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	body, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: %s, %v", path, reply.Status, err)
	}
	return string(body)
}

// postAs sends a webhook of a tenant.
func (r *replica) postAs(key, path, node string) {
	r.t.Helper()
	at := strings.TrimSuffix(r.url, "/webhook/cognigy") + path
	request, err := http.NewRequest(http.MethodPost, at, strings.NewReader(
		`{"dialogId":"d","nodeId":"`+node+`","sequence":1,"variables":{"card":"4111-planted"}}`))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", key)
	request.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, reply.Body)
	_ = reply.Body.Close()
}

// post sends a webhook and returns the status of its answer.
func (r *replica) post(node string, sequence int) int {
	body := fmt.Sprintf(`{"dialogId":"d","nodeId":%q,"sequence":%d,"variables":{"card":"4111-planted"}}`, node, sequence)
	reply, err := http.Post(r.url, "application/json", strings.NewReader(body))
	if err != nil {
		r.t.Error(err)
		return 0
	}
	defer func() { _ = reply.Body.Close() }()
	_, _ = io.Copy(io.Discard, reply.Body)
	return reply.StatusCode
}

// metrics returns all values of a scrape, by name and labels.
func (r *replica) metrics() map[string]float64 {
	r.t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(r.get("/metrics")))
	if err != nil {
		r.t.Fatal(err)
	}
	values := make(map[string]float64)
	for name, family := range families {
		for _, m := range family.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetValue())
			}
			key := name + "{" + strings.Join(labels, ",") + "}"
			values[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so within a minute: %s", what)
		}
	}
}

// variety is logic that succeeds, refuses for good or fails, as the webhook's node says.
func variety(_ context.Context, w logic.Webhook) (logic.Result, error) {
	switch w.NodeID {
	case "fails":
		return logic.Result{}, errors.New("it failed")
	case "refuses":
		return logic.Result{Status: 409, ContentType: "text/plain", Body: []byte("no")}, nil
	}
	time.Sleep(10 * time.Millisecond)
	return logic.JSON(map[string]string{"booked": "secret-result-planted"})
}

// TestCountersOfAllReplicasAreThoseOfTheHashAndOfTheAnswers compares three tellings of one storm.
func TestCountersOfAllReplicasAreThoseOfTheHashAndOfTheAnswers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var replicas []*replica
	for range 2 {
		replicas = append(replicas, start(t, logic.Func(variety), func(c *config.Config) {
			c.Redis.URL = config.Secret(server.URL())
		}))
	}
	var statuses [600]atomic.Int64
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			node := []string{"books", "fails", "refuses"}[i%3]
			statuses[replicas[i%2].post(node, i/100)].Add(1)
		})
	}
	all.Wait()
	for range 3 {
		replicas[0].post("", 0) // malformed
	}

	client := redistest.Client(t, server.Addr())
	sums := func() map[string]float64 {
		sum := make(map[string]float64)
		for _, r := range replicas {
			for key, value := range r.metrics() {
				sum[key] += value
			}
		}
		return sum
	}
	var hash map[string]string
	field := func(name string) float64 {
		n, _ := strconv.ParseFloat(hash[name], 64)
		return n
	}
	eventually(t, "all is counted", func() (ok bool) {
		var err error
		if hash, err = redis.Metrics(t.Context(), client, redis.NewKeys("cognigy")); err != nil {
			t.Fatal(err)
		}
		return field("total_requests") == 300 && field("malformed") == 3
	})
	sum := sums()
	of := func(metric string, labels ...string) (n float64) {
		for _, l := range labels {
			key := "oncegate_" + metric + "{" + l + "}"
			if _, there := sum[key]; !there {
				t.Errorf("there is no %s", key)
			}
			n += sum[key]
		}
		return n
	}
	answered := func(status int) float64 { return float64(statuses[status].Load()) }
	for what, tellings := range map[string][]float64{
		"executed": {field("executed"), of("requests_total", "executed,"),
			of("execution_duration_seconds", "")},
		"replayed":               {field("replayed"), of("requests_total", "replayed,")},
		"local":                  {field("replayed_local"), of("replay_cache_hits_total", "")},
		"waited":                 {field("waited"), of("requests_total", "waited,")},
		"malformed":              {field("malformed"), of("requests_total", "malformed,")},
		"rejected":               {field("rejected"), of("executions_total", "rejected,")},
		"failed":                 {field("failed"), of("executions_total", "failed,")},
		"stored":                 {field("stored"), of("executions_total", "stored,", "rejected,")},
		"successes and refusals": {answered(200) + answered(409), 300 - answered(500)},
		"failures told":          {answered(500), of("request_duration_seconds", "failed")},
		"all": {field("total_requests"), of("requests_total", "executed,", "replayed,", "waited,"),
			of("request_duration_seconds", "executed", "replayed", "waited", "failed")},
	} {
		if slices.Max(tellings) != slices.Min(tellings) {
			t.Errorf("%s is told as %v", what, tellings)
		}
	}
	for _, r := range replicas { // each replica reports what all know
		if m := r.metrics(); m["oncegate_cluster_requests_total{}"] != 300 || m["oncegate_cluster_executed_total{}"] !=
			field("executed") {
			t.Errorf("of all replicas it tells %v requests and %v executions", m["oncegate_cluster_requests_total{}"],
				m["oncegate_cluster_executed_total{}"])
		}
	}
}

// TestEachTenantHasSeriesOfItsOwn: they add up to all, and a tenant that does not exist has none.
func TestEachTenantHasSeriesOfItsOwn(t *testing.T) {
	t.Parallel()
	r := start(t, logic.Func(variety), func(c *config.Config) {
		for _, name := range []string{"acme", "beta", "silent"} {
			c.Tenants = append(c.Tenants, config.Tenant{
				Name: name, Door: config.Door{APIKeys: config.Secret(name + "-key")},
				HTTP: c.HTTP, Execution: c.Execution, Upstream: c.Upstream,
			})
		}
	})
	for path, nodes := range map[string][]string{
		"/t/acme": {"books", "books", "books", "refuses"}, "/t/beta": {"books", "fails"}, "/t/nobody": {"books"},
	} {
		for _, node := range nodes {
			r.postAs(strings.TrimPrefix(path, "/t/")+"-key", path, node)
		}
	}
	r.postAs("acme-key", "/t/beta", "books")
	m := r.metrics()
	for series, want := range map[string]float64{
		"requests_total{executed,acme}": 2, "requests_total{replayed,acme}": 2, "requests_total{unauthorized,acme}": 0,
		"requests_total{executed,beta}": 2, "requests_total{unauthorized,beta}": 1, "requests_total{executed,}": 0,
		"requests_total{unknown_tenant,}": 1, "executions_total{stored,acme}": 1, "executions_total{rejected,acme}": 1,
		"executions_total{failed,beta}": 1, "executions_total{stored,}": 0,
	} {
		name, labels, _ := strings.Cut(series, "{")
		outcome, tenant, _ := strings.Cut(strings.TrimSuffix(labels, "}"), ",")
		got, there := m["oncegate_"+name+"{"+outcome+","+tenant+"}"]
		if !there || got != want {
			t.Errorf("%s is %v (there: %v), want %v", series, got, there, want)
		}
	}
	for series := range m {
		if strings.Contains(series, "silent") || strings.Contains(series, "nobody") {
			t.Errorf("there is %s, and nothing came for that tenant", series)
		}
	}
}

// TestLabelsComeFromFixedSets: whatever callers and Redis say, a scrape has as many lines as before.
func TestLabelsComeFromFixedSets(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := redistest.Client(t, server.Addr())
	r := start(t, logic.Func(variety), func(c *config.Config) { c.Redis.URL = config.Secret(server.URL()) })
	before := slices.Sorted(maps.Keys(r.metrics()))
	for i := range 50 {
		r.post(fmt.Sprintf("node-%d", i), i)
		redistest.Do(t, client, "HSET", "cognigy:metrics", fmt.Sprintf("planted-%d", i), "1")
	}
	after := slices.Sorted(maps.Keys(r.metrics()))
	if !slices.Equal(before, after) {
		t.Errorf("there were %d metrics and are %d", len(before), len(after))
	}
}

// TestNoSecretIsInAnyMetricOrLog searches for planted texts: values of payloads and results, keys, tokens.
func TestNoSecretIsInAnyMetricOrLog(t *testing.T) {
	t.Parallel()
	r := start(t, logic.Func(variety), func(c *config.Config) {
		c.HTTP.InboundAPIKeys, c.Admin.Token = "planted-api-key", "planted-admin-token-0123"
		c.Log.Executions = config.ExecutionsAll
	})
	for i, node := range []string{"books", "books", "fails", "refuses"} {
		r.post(node, i)
		request, err := http.NewRequest(http.MethodPost, r.url, strings.NewReader(
			`{"dialogId":"d","nodeId":"`+node+`","sequence":1,"variables":{"card":"4111-planted"}}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Api-Key", "planted-api-key")
		if reply, err := http.DefaultClient.Do(request); err != nil {
			t.Fatal(err)
		} else {
			_ = reply.Body.Close()
		}
	}
	for what, text := range map[string]string{"metrics": r.get("/metrics"), "log": r.log.String()} {
		if strings.Contains(text, "planted") || len(text) == 0 {
			t.Errorf("the %s have a secret:\n%s", what, text)
		}
	}
}

func TestABackendsAnswersAreCountedByCode(t *testing.T) {
	t.Parallel()
	var code atomic.Int64
	code.Store(200)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(code.Load()))
	}))
	defer backend.Close()
	u, err := upstream.New(upstream.Options{
		URL: backend.URL, MaxResultBytes: 1 << 20, BreakerFailures: 3, BreakerPause: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	r := start(t, u, func(*config.Config) {})
	r.post("a", 1)
	if m := r.metrics(); m["oncegate_upstream_requests_total{200,}"] != 1 || m["oncegate_breaker_open{}"] != 0 {
		t.Errorf("after one success: %v", m)
	}
	code.Store(500)
	for i := range 5 {
		r.post("b", i)
	}
	if m := r.metrics(); m["oncegate_upstream_requests_total{500,}"] != 3 || m["oncegate_breaker_open{}"] != 1 ||
		m["oncegate_upstream_duration_seconds{}"] != 4 {
		t.Errorf("after three failures and two that were not sent: %v", m)
	}
}

// TestPromtoolFindsNothingWrongWithTheMetrics: names, units and help are as Prometheus wants them.
func TestPromtoolFindsNothingWrongWithTheMetrics(t *testing.T) {
	t.Parallel()
	r := start(t, logic.Func(variety), func(*config.Config) {})
	r.post("books", 1)
	check := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	check.Stdin = strings.NewReader(r.get("/metrics"))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
