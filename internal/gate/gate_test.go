package gate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

// testbed is one Redis with several replicas before it, and a logic that all share.
type testbed struct {
	testing.TB
	server   *redistest.Server // nil on miniredis, and if it is a cluster
	keys     redis.Keys
	url      string
	client   rueidis.Client
	replicas []*replica

	executions atomic.Int64
	inDoubt    atomic.Bool // what the last execution was told
	logic      atomic.Pointer[func(ctx context.Context, attempt int64) (record.Result, error)]
}

// replica is one gate with its own connections.
type replica struct {
	*gate.Gate
	testbed *testbed
	proxy   *redistest.Proxy // nil if it needs none
}

var keys = redis.NewKeys("cognigy")

// buckets are more than a cluster of a test has primaries.
const buckets = 16

// options are short enough for a test and long enough for a busy machine.
func options() gate.Options {
	return gate.Options{
		Rules: gate.Rules{
			ResultTTL: 10 * time.Minute, RejectedTTL: 10 * time.Second, DoubtTTL: time.Hour, WaitTimeout: 20 * time.Second,
			ExecutionTimeout: time.Minute, MaxResultBytes: 1 << 20,
		},
		LockTTL: 10 * time.Second, RedisTimeout: 5 * time.Second, RedisPatience: 10 * time.Second,
		MetricsFlush: 50 * time.Millisecond,
		JournalBytes: 1 << 20, JournalAge: 10 * time.Minute,
	}
}

// onEach runs a test on miniredis and on a real redis-server.
func onEach(t *testing.T, test func(t *testing.T, h *testbed)) {
	t.Parallel()
	t.Run("miniredis", func(t *testing.T) {
		_, url := redistest.Embedded(t)
		test(t, &testbed{TB: t, keys: keys, url: url, client: redistest.Client(t, strings.TrimPrefix(url, "redis://"))})
	})
	t.Run("redis", func(t *testing.T) { test(t, onReal(t)) })
}

func onReal(t testing.TB, args ...string) *testbed {
	server := redistest.Start(t, args...)
	return &testbed{TB: t, keys: keys, server: server, url: server.URL(), client: redistest.Client(t, server.Addr())}
}

// open adds a replica. It is closed with the test, and the counters are then checked, unless a test has said why they
// can't add up (forgive).
func (h *testbed) open(o gate.Options) *replica {
	h.Helper()
	return h.openAt(o, h.url)
}

// openBehindProxy adds a replica that can be cut off.
func (h *testbed) openBehindProxy(o gate.Options) *replica {
	h.Helper()
	p := redistest.NewProxy(h, strings.TrimPrefix(h.url, "redis://"))
	r := h.openAt(o, p.URL())
	r.proxy = p
	for range 40 { // rueidis makes its connections when it first needs them: a fault is to meet calls, not handshakes
		if err := r.Ready(); err != nil {
			h.Fatalf("not ready: %v", err)
		}
	}
	return r
}

func (h *testbed) openAt(o gate.Options, url string) *replica {
	h.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testLog{h}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	g := gate.New(o)
	store, err := redis.Open(context.Background(), config.Redis{URL: config.Secret(url), KeyPrefix: "cognigy",
		Buckets: buckets, Timeout: o.RedisTimeout, Retries: 3}, g.Invalidated, o.Log)
	if err != nil {
		h.Fatalf("open: %v", err)
	}
	if err := g.Start(context.Background(), store); err != nil {
		h.Fatalf("start: %v", err)
	}
	r := &replica{Gate: g, testbed: h}
	h.replicas = append(h.replicas, r)
	h.Cleanup(func() { // before the server's own, which came first
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := g.Close(ctx); err != nil && h.server != nil {
			h.Errorf("close: %v", err)
		}
		store.Close()
	})
	return r
}

// endable begins an execution in a replica. end closes the replica without patience, and returns as soon as the
// execution was cancelled, as all that run are then.
func (r *replica) endable() (end func() (closed <-chan error)) {
	begun, cancelled := make(chan struct{}), make(chan struct{})
	w := r.testbed.request(1_000_000, "body")
	w.Source = executes(func(ctx context.Context, _ int64, _ bool) (record.Result, error) {
		close(begun)
		<-ctx.Done()
		close(cancelled)
		return record.Result{}, errLogic
	})
	go r.Do(w)
	<-begun
	return func() <-chan error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		closed := make(chan error, 1)
		go func() { closed <- r.Close(ctx) }()
		<-cancelled
		return closed
	}
}

// testLog writes to the test's log.
type testLog struct{ testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	l.Log(strings.TrimSpace(string(line)))
	return len(line), nil
}

func (h *testbed) setLogic(f func(ctx context.Context, attempt int64) (record.Result, error)) {
	h.logic.Store(&f)
}

// request is a webhook by number; body tells bodies of one fingerprint apart.
func (h *testbed) request(n int, body string) gate.Request {
	return gate.Request{
		Fingerprint: fingerprint.Of([]byte("dialog"), []byte("node"), int64(n)),
		Digest:      digestOf(body),
		Arrived:     time.Now(),
		Source: executes(func(ctx context.Context, attempt int64, inDoubt bool) (record.Result, error) {
			execution := h.executions.Add(1)
			h.inDoubt.Store(inDoubt)
			if logic := h.logic.Load(); logic != nil {
				return (*logic)(ctx, attempt)
			}
			return answer(fmt.Sprintf(`{"execution":%d}`, execution)), nil
		}),
	}
}

// executes is a request that runs a function.
type executes func(ctx context.Context, attempt int64, inDoubt bool) (record.Result, error)

func (f executes) Detach() gate.Work { return f }

func (f executes) Run(ctx context.Context, attempt int64, inDoubt bool) (record.Result, error) {
	return f(ctx, attempt, inDoubt)
}

func (executes) LogValue() slog.Value { return identity{}.LogValue() }

// identity returns the name of a webhook of the testbed in logs.
type identity struct{}

func (identity) LogValue() slog.Value {
	return slog.GroupValue(slog.String("dialog", "dialog"), slog.String("node", "node"))
}

func digestOf(body string) (d record.Digest) {
	copy(d[:], body)
	return d
}

func answer(json string) record.Result {
	return record.Result{Status: 200, ContentType: record.JSON, Body: []byte(json)}
}

// send does what the handler does with a webhook.
func (r *replica) send(n int) gate.Answer { return r.sendBody(n, "body") }

func (r *replica) sendBody(n int, body string) gate.Answer {
	w := r.testbed.request(n, body)
	if a, ok := r.Replay(w); ok {
		return a
	}
	return r.Do(w)
}

// later sends in a goroutine of its own.
func (r *replica) later(n int) <-chan gate.Answer { return r.laterBody(n, "body") }

func (r *replica) laterBody(n int, body string) <-chan gate.Answer {
	answered := make(chan gate.Answer, 1)
	go func() { answered <- r.sendBody(n, body) }()
	return answered
}

func (h *testbed) expect(a gate.Answer, outcome gate.Outcome, body string) {
	h.Helper()
	if a.Outcome != outcome || string(a.Result.Body) != body {
		h.Errorf("answer %s %s, want %s %s", name(a.Outcome), a.Result.Body, name(outcome), body)
	}
}

func name(o gate.Outcome) string {
	return [...]string{"executed", "replayed", "waited", "processing", "failed", "unavailable", "foreign", "unreadable",
		"refused", "limited", "overloaded", "poisoned", "doubtful", "mismatched", "missing"}[o]
}

func (h *testbed) expectExecutions(n int64) {
	h.Helper()
	if got := h.executions.Load(); got != n {
		h.Errorf("the logic ran %d times, want %d", got, n)
	}
}

// metrics reads the counters.
func (h *testbed) metrics() map[string]int64 {
	h.Helper()
	m, err := redis.Metrics(context.Background(), h.client, h.keys)
	if err != nil {
		h.Fatal(err)
	}
	counters := make(map[string]int64)
	for field, value := range m {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			counters[field] = n
		}
	}
	return counters
}

// expectCounts waits until the counters named say so and the sums of docs/design.md hold: in the end they do exactly.
func (h *testbed) expectCounts(want map[string]int64) {
	h.Helper()
	h.wait(want, func(m map[string]int64) bool {
		return m["total_requests"] == m["executed"]+m["duplicates"]+m["unavailable"] &&
			m["duplicates"] == m["replayed"]+m["waited"]+m["still_processing"] &&
			m["executed"] == m["stored"]+m["failed"]+m["lost_stores"]
	})
}

// expectSome is for tests in which replies are lost or Redis forgets, so that the sums need not hold.
func (h *testbed) expectSome(want map[string]int64) {
	h.Helper()
	h.wait(want, func(map[string]int64) bool { return true })
}

func (h *testbed) wait(want map[string]int64, sums func(map[string]int64) bool) {
	h.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := h.metrics()
		differ := slices.DeleteFunc(slices.Collect(maps.Keys(want)), func(f string) bool { return got[f] == want[f] })
		if len(differ) == 0 && sums(got) {
			return
		}
		if time.Now().After(deadline) {
			h.Errorf("counters %v, want %v and the sums to hold", got, want)
			return
		}
	}
}

func (h *testbed) eventually(what string, holds func() bool) {
	h.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatalf("never: %s", what)
		}
	}
}

// waits returns when so many requests wait in a replica.
func (r *replica) waits(n int64) {
	r.testbed.Helper()
	r.testbed.eventually(fmt.Sprintf("%d requests wait", n), func() bool { return r.Snapshot().Waiting == n })
}

func (h *testbed) recordOf(n int) record.Record {
	h.Helper()
	value := redistest.Do(h, h.client, "GET", h.keys.Record(h.request(n, "").Fingerprint))
	if value == "" {
		return record.Record{}
	}
	r, err := record.Parse([]byte(value))
	if err != nil {
		h.Fatalf("record %q: %v", value, err)
	}
	return r
}

// setValue puts a value at a webhook's key, and record puts a record there.
func (h *testbed) setValue(n int, value string) {
	h.Helper()
	redistest.Do(h, h.client, "SET", h.keys.Record(h.request(n, "").Fingerprint), value, "PX", "60000")
}

func (h *testbed) record(n int, r record.Record) {
	h.Helper()
	h.setValue(n, string(record.Append(nil, r)))
}

var errLogic = errors.New("the logic fails")

// blocked makes the logic wait until release is closed, or its context ends; entered gets one for each execution.
func (h *testbed) blocked() (entered chan int64, release chan struct{}) {
	entered, release = make(chan int64, 100), make(chan struct{})
	h.setLogic(func(ctx context.Context, attempt int64) (record.Result, error) {
		entered <- attempt
		select {
		case <-release:
			return answer(fmt.Sprintf(`{"attempt":%d}`, attempt)), nil
		case <-ctx.Done():
			return record.Result{}, context.Cause(ctx)
		}
	})
	return entered, release
}

// all sends n webhooks of one fingerprint at once, spread over the replicas.
func (h *testbed) all(n, number int) []gate.Answer {
	answers := make([]gate.Answer, n)
	var sent sync.WaitGroup
	for i := range answers {
		sent.Go(func() { answers[i] = h.replicas[i%len(h.replicas)].send(number) })
	}
	sent.Wait()
	return answers
}

func outcomes(answers []gate.Answer) map[string]int {
	counted := make(map[string]int)
	for _, a := range answers {
		counted[name(a.Outcome)+" "+string(a.Result.Body)]++
	}
	return counted
}

func lines(text string) func(func(string) bool) { return strings.SplitSeq(text, "\r\n") }
