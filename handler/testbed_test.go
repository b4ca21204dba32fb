package handler_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

// webhook is the body that most tests send, and name its fingerprint.
const (
	webhook = `{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"variables":{"seats":2}}`
	name    = "cognigy:fp:9443ee322c40418bfa7ef17b52766d02d4845f338545d08261d02319a3d397a5"
)

// testbed is one Redis with several replicas before it. Each replica has an HTTP server on loopback; all share one
// logic.
type testbed struct {
	testing.TB
	server *redistest.Server    // nil on miniredis
	mini   *miniredis.Miniredis // nil on a real one
	addr   string
	client rueidis.Client

	executions atomic.Int64
	logic      atomic.Pointer[logic.Func]
}

// replica is one gateway: HTTP, gate and connections of its own.
type replica struct {
	*handler.Handler
	testbed *testbed
	server  *handler.Server
	gate    *gate.Gate // nil: it is the gateway's
	addr    string
	gateway *handler.Gateway // nil: it has none
}

var keys = redis.NewKeys("cognigy")

// options returns timeouts that are short enough for a test and long enough for a busy machine.
func options() gate.Options {
	return gate.Options{
		Rules: gate.Rules{
			ResultTTL: 10 * time.Minute, RejectedTTL: time.Minute, DoubtTTL: time.Hour, WaitTimeout: 20 * time.Second,
			ExecutionTimeout: time.Minute, MaxResultBytes: 1 << 20,
		},
		LockTTL: 10 * time.Second, RedisTimeout: 5 * time.Second, RedisPatience: 10 * time.Second,
		MetricsFlush: 50 * time.Millisecond,
	}
}

// shortWait returns options under which a caller is soon told to ask again.
func shortWait() gate.Options {
	o := options()
	o.WaitTimeout = time.Second
	return o
}

// shortPatience returns options under which callers soon give up on a Redis that does not answer.
func shortPatience() gate.Options {
	o := options()
	o.RedisTimeout, o.RedisPatience = time.Second, time.Second
	return o
}

// onEach runs a test on miniredis and on a real redis-server.
func onEach(t *testing.T, test func(t *testing.T, h *testbed)) {
	t.Parallel()
	t.Run("miniredis", func(t *testing.T) {
		m, url := redistest.Embedded(t)
		addr := strings.TrimPrefix(url, "redis://")
		test(t, &testbed{TB: t, mini: m, addr: addr, client: redistest.Client(t, addr)})
	})
	t.Run("redis", func(t *testing.T) { test(t, onReal(t)) })
}

func onReal(t testing.TB) *testbed {
	s := redistest.Start(t)
	return &testbed{TB: t, server: s, addr: s.Addr(), client: redistest.Client(t, s.Addr())}
}

// open adds a replica whose answer "still processing" is a 409.
func (h *testbed) open(o gate.Options) *replica {
	h.Helper()
	return h.openWith(o, handler.Options{}, func(*handler.Server) {})
}

// openWith adds a replica with these options of its handler and its server. The end of the test closes it.
func (h *testbed) openWith(o gate.Options, http handler.Options, change func(*handler.Server)) *replica {
	h.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testLog{h}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	http.ProcessingStatus, http.MaxBodyBytes, http.Log = cmp.Or(http.ProcessingStatus, 409),
		cmp.Or(http.MaxBodyBytes, small), o.Log
	g := gate.New(o)
	store, err := redis.Open(context.Background(), config.Redis{URL: config.Secret("redis://" + h.addr),
		KeyPrefix: "cognigy", Timeout: o.RedisTimeout, Retries: 3}, g.Invalidated, o.Log)
	if err != nil {
		h.Fatalf("open: %v", err)
	}
	if err := g.Start(context.Background(), store); err != nil {
		h.Fatalf("start: %v", err)
	}
	r := serve(h, handler.New(g, logic.Func(h.execute), http), o.Log, change)
	r.testbed, r.gate = h, g
	h.Cleanup(func() { // runs after the HTTP server is closed and before Redis is
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = g.Close(ctx) // the gate's own tests check what Close returns
		store.Close()
	})
	h.Cleanup(r.shutdown)
	return r
}

// serve serves a handler on a free port of loopback.
func serve(t testing.TB, served *handler.Handler, log *slog.Logger, change func(*handler.Server)) *replica {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("a free port: %v", err)
	}
	r := &replica{Handler: served, server: handler.NewServer(served, log), addr: l.Addr().String()}
	change(r.server)
	go func() { _ = r.server.Serve(l) }()
	return r
}

func (r *replica) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := r.server.ShutdownWithContext(ctx); err != nil {
		r.testbed.Errorf("shutdown: %v", err)
	}
}

// testLog writes to the test's log.
type testLog struct{ testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	l.Log(strings.TrimSpace(string(line)))
	return len(line), nil
}

// execute is the logic of all replicas: the one that a test has set, or an answer that tells executions apart.
func (h *testbed) execute(ctx context.Context, w logic.Webhook) (logic.Result, error) {
	n := h.executions.Add(1)
	if logic := h.logic.Load(); logic != nil {
		return (*logic)(ctx, w)
	}
	return logic.JSON(map[string]int64{"execution": n})
}

func (h *testbed) setLogic(f logic.Func) { h.logic.Store(&f) }

// blocked makes the logic wait until release is closed. entered gets one value for each execution.
func (h *testbed) blocked() (entered chan logic.Webhook, release chan struct{}) {
	entered, release = make(chan logic.Webhook, 100), make(chan struct{})
	h.setLogic(func(ctx context.Context, w logic.Webhook) (logic.Result, error) {
		entered <- w
		select {
		case <-release:
			return logic.JSON(map[string]int64{"attempt": w.Attempt})
		case <-ctx.Done():
			return logic.Result{}, context.Cause(ctx)
		}
	})
	return entered, release
}

var errLogic = errors.New("the logic fails")

// response is an HTTP answer: its status, its headers as sorted lines "Name: value", and its body. Headers that every
// answer has are left out: Date, Content-Length (which is checked), Connection and those for browsers.
type response struct {
	status  int
	headers []string
	body    string
}

func (r response) String() string {
	return fmt.Sprintf("%d\n%s\n\n%s", r.status, strings.Join(r.headers, "\n"), r.body)
}

// header returns the value of a header, or "" if there is none.
func (r response) header(name string) string {
	for _, h := range r.headers {
		if value, ok := strings.CutPrefix(h, name+": "); ok {
			return value
		}
	}
	return ""
}

// post sends a webhook as a flow does.
func (r *replica) post(body string) response {
	r.testbed.Helper()
	return r.exchange(request("POST", "/webhook/cognigy", body, "Content-Type: application/json"))
}

func sorted(headers []string) []string {
	slices.Sort(headers)
	return headers
}

// later posts in a goroutine and delivers the answer on the channel.
func (r *replica) later(body string) <-chan response {
	answered := make(chan response, 1)
	go func() { answered <- r.post(body) }()
	return answered
}

func request(method, path, body string, headers ...string) string {
	text := method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	if body != "" {
		text += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return text + "\r\n" + body
}

// exchange sends a request, byte for byte, on a new connection.
func (r *replica) exchange(request string) response {
	c, err := dial(r.addr)
	if err != nil {
		return response{body: err.Error()}
	}
	defer c.Close()
	return c.exchange(request)
}

// forBrowsers are the headers for browsers, which every answer has.
var forBrowsers = map[string]string{
	"X-Content-Type-Options":  "nosniff",
	"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}

// connection is a connection to a replica that is kept between requests.
type connection struct {
	net.Conn
	read *bufio.Reader
}

func dial(addr string) (*connection, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &connection{c, bufio.NewReader(c)}, c.SetDeadline(time.Now().Add(2 * time.Minute))
}

// exchange sends a request and returns the answer; if none came, its body is the error.
func (c *connection) exchange(request string) response {
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute)) // each: a connection may live longer
	if _, err := io.WriteString(c, request); err != nil {
		return response{body: err.Error()}
	}
	method, _, _ := strings.Cut(request, " ")
	read, err := http.ReadResponse(c.read, &http.Request{Method: method})
	for err == nil && read.StatusCode == http.StatusContinue {
		read, err = http.ReadResponse(c.read, &http.Request{Method: method})
	}
	if err != nil {
		return response{body: err.Error()}
	}
	body, err := io.ReadAll(read.Body)
	if err != nil {
		return response{body: err.Error()}
	}
	for _, ours := range []string{"Date", "Content-Length"} {
		if read.Header.Get(ours) == "" {
			return response{body: "no " + ours}
		}
		read.Header.Del(ours)
	}
	read.Header.Del("Connection")
	for name, want := range forBrowsers {
		if values := read.Header[name]; !slices.Equal(values, []string{want}) {
			return response{body: fmt.Sprintf("%s is %q", name, values)}
		}
		read.Header.Del(name)
	}
	r := response{status: read.StatusCode, body: string(body)}
	for name, values := range read.Header {
		for _, value := range values {
			r.headers = append(r.headers, name+": "+value)
		}
	}
	slices.Sort(r.headers)
	return r
}

// expect compares a whole answer. Its content type must be JSON, and it must have no headers but the named ones.
func (h *testbed) expect(got response, status int, body string, headers ...string) {
	h.Helper()
	expect(h, got, status, body, headers...)
}

func expect(t testing.TB, got response, status int, body string, headers ...string) {
	t.Helper()
	want := response{status, sorted(append(slices.Clone(headers), "Content-Type: application/json")), body}
	if got.String() != want.String() {
		t.Errorf("answer\n%v\n\nwant\n%v", got, want)
	}
}

// fresh replaces an Age below five seconds by 0, because the machine may be busy.
func fresh(r response) response {
	for i, header := range r.headers {
		if age, ok := strings.CutPrefix(header, "Age: "); ok && len(age) == 1 && age < "5" {
			r.headers = slices.Clone(r.headers)
			r.headers[i] = "Age: 0"
		}
	}
	return r
}

func (h *testbed) expectExecutions(n int64) {
	h.Helper()
	if got := h.executions.Load(); got != n {
		h.Errorf("the logic ran %d times, want %d", got, n)
	}
}

// expectCounts waits until the counters have these values. Then the sums of docs/design.md must hold exactly.
func (h *testbed) expectCounts(want map[string]int64) {
	h.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		fields, err := h.client.Do(context.Background(), h.client.B().Hgetall().Key(keys.Metrics()).Build()).AsStrMap()
		if err != nil {
			h.Fatalf("HGETALL: %v", err)
		}
		m := make(map[string]int64)
		for field, value := range fields {
			m[field], _ = strconv.ParseInt(value, 10, 64) // a field with a fraction is no counter
		}
		differ := slices.DeleteFunc(slices.Collect(maps.Keys(want)), func(f string) bool { return m[f] == want[f] })
		if len(differ) == 0 && m["total_requests"] == m["executed"]+m["duplicates"]+m["unavailable"] &&
			m["duplicates"] == m["replayed"]+m["waited"]+m["still_processing"] &&
			m["executed"] == m["stored"]+m["failed"]+m["lost_stores"] {
			return
		}
		if time.Now().After(deadline) {
			h.Errorf("counters %v, want %v and the sums to hold", m, want)
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

// bothWait returns when two requests wait in the gate of a replica.
func (r *replica) bothWait() {
	r.testbed.Helper()
	r.testbed.eventually("both wait", func() bool { return r.gate.Snapshot().Waiting == 2 })
}

// recordOf returns the webhook's record.
func (h *testbed) recordOf() record.Record {
	h.Helper()
	value := redistest.Do(h, h.client, "GET", name)
	if value == "" {
		return record.Record{}
	}
	r, err := record.Parse([]byte(value))
	if err != nil {
		h.Fatalf("record %q: %v", value, err)
	}
	return r
}

// setValue writes a value at the key of the webhook's record.
func (h *testbed) setValue(r record.Record) {
	h.Helper()
	redistest.Do(h, h.client, "SET", name, string(record.Append(nil, r)), "PX", "60000")
}

// kill ends Redis as kill -9 does.
func (h *testbed) kill() {
	if h.server != nil {
		h.server.Kill()
	} else {
		h.mini.Close()
	}
}
