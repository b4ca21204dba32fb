package sweeper_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/sweeper"
)

const (
	resultTTL = time.Hour
	doubtTTL  = 10 * time.Hour
	timeout   = 5 * time.Minute // of an execution
)

var keys = redis.NewKeys("shop")

// engine is a Redis with the sweepers of some replicas.
type engine struct {
	*testing.T
	client rueidis.Client
	mini   *miniredis.Miniredis // or nil
	server *redistest.Server    // or nil
	logged *log
}

// onEach runs a test on miniredis and on a real redis-server.
func onEach(t *testing.T, test func(e *engine)) {
	t.Parallel()
	t.Run("miniredis", func(t *testing.T) {
		mini, url := redistest.Embedded(t)
		test(&engine{T: t, mini: mini, client: redistest.Client(t, strings.TrimPrefix(url, "redis://")), logged: new(log)})
	})
	t.Run("redis", func(t *testing.T) { test(onReal(t)) })
}

func onReal(t *testing.T, args ...string) *engine {
	server := redistest.Start(t, args...)
	return &engine{T: t, server: server, client: redistest.Client(t, server.Addr()), logged: new(log)}
}

// replica returns the sweeper of a new replica.
func (e *engine) replica(interval time.Duration) *sweeper.Sweeper {
	return sweeper.New(e.client, sweeper.Options{
		Keys: keys, Interval: interval, ResultTTL: resultTTL, DoubtTTL: doubtTTL, ExecutionTimeout: timeout,
		Timeout: 10 * time.Second,
		Log:     slog.New(slog.NewJSONHandler(e.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
}

// sweep sweeps once, after making it this sweeper's turn.
func (e *engine) sweep() sweeper.Report {
	e.Helper()
	e.do("DEL", keys.Sweeper())
	report, err := e.replica(time.Minute).Sweep(e.Context())
	if err != nil {
		e.Fatalf("sweep: %v", err)
	}
	return report
}

func (e *engine) do(args ...string) string { e.Helper(); return redistest.Do(e.T, e.client, args...) }

func (e *engine) now() time.Time {
	e.Helper()
	parts, err := e.client.Do(e.Context(), e.client.B().Time().Build()).AsIntSlice()
	if err != nil {
		e.Fatalf("TIME: %v", err)
	}
	return time.Unix(parts[0], parts[1]*1000)
}

// pass lets time pass for the turn, so that its TTL expires.
func (e *engine) pass(d time.Duration) {
	e.Helper()
	if e.mini != nil {
		e.mini.FastForward(d)
		return
	}
	e.do("PEXPIRE", keys.Sweeper(), strconv.FormatInt((e.pttl(keys.Sweeper())-d).Milliseconds(), 10))
}

func (e *engine) pttl(key string) time.Duration {
	e.Helper()
	ms, err := strconv.ParseInt(e.do("PTTL", key), 10, 64)
	if err != nil {
		e.Fatal(err)
	}
	return time.Duration(ms) * time.Millisecond
}

func (e *engine) metrics() map[string]string {
	e.Helper()
	m, err := e.client.Do(e.Context(), e.client.B().Hgetall().Key(keys.Metrics()).Build()).AsStrMap()
	if err != nil {
		e.Fatalf("HGETALL: %v", err)
	}
	return m
}

// endless is the PTTL of a key without one.
const endless = -time.Millisecond

// key returns the key of the i-th webhook's record.
func key(i int) string { return keys.Record(fingerprint.Of([]byte("d"), []byte("n"), int64(i))) }

func running(started time.Time) record.Record {
	return record.Record{State: record.InProgress, Attempt: 1, Token: "token", Deadline: started.Add(time.Minute),
		Lease: time.Minute, Started: started}
}

func done(now time.Time, result record.Result) record.Record {
	return record.Record{State: record.Done, Attempt: 2, Token: "token", Stored: now, Ends: now.Add(resultTTL),
		Digest: record.Digest{1}, Result: result}
}

func failed(now time.Time) record.Record {
	return record.Record{State: record.Failed, Attempt: 3, Token: "token", FailedAt: now, Reason: "error"}
}

var (
	small   = record.Result{Status: 200, ContentType: record.JSON, Body: []byte("{\"a\":1}\n\x00")}
	empty   = record.Result{Status: 204, ContentType: "-"}
	large   = record.Result{Status: 200, ContentType: record.JSON, Body: bytes.Repeat([]byte("0123456789abcdef"), 1<<16)}
	longest = record.Result{Status: 200, ContentType: strings.Repeat("x", 850),
		Body: []byte("a header longer than what is read first")}
)

// records holds one record of every kind that the script may leave behind.
func records(now time.Time) map[string]record.Record {
	return map[string]record.Record{
		"in progress": running(now), "overdue": running(now.Add(-time.Hour)), "failed": failed(now),
		"done": done(now, small), "done without a body": done(now, empty), "done with 1 MiB": done(now, large),
		"done with the longest header": done(now, longest),
		"with a verdict": {
			State: record.Failed, Attempt: 1, Token: "token", FailedAt: now, Reason: record.Expired, Doubt: true, Failures: 1,
			Verdict: record.Poisoned,
		},
	}
}

func (e *engine) plant(key string, r record.Record, ttl time.Duration) (value string) {
	e.Helper()
	value = string(record.Append(nil, r))
	args := []string{"SET", key, value}
	if ttl > 0 {
		args = append(args, "PX", strconv.FormatInt(ttl.Milliseconds(), 10))
	}
	e.do(args...)
	return value
}

// foreign holds commands that write another program's value at a key, by the kind of value.
func foreign(key string) map[string][]string {
	return map[string][]string{
		"a hash":             {"HSET", key, "a", "b"},
		"a list":             {"RPUSH", key, "P1 1 t 1 1 1\n"},
		"rubbish":            {"SET", key, "rubbish"},
		"long rubbish":       {"SET", key, strings.Repeat("rubbish", 1000)},
		"an empty string":    {"SET", key, ""},
		"an unknown state":   {"SET", key, "X1 1 token 1 1 1\n"},
		"an unknown version": {"SET", key, "D9 1 token 1 1 1\n"},
		"no end of a header": {"SET", key, "P1 1 token 1 1 1" + strings.Repeat(" ", 5000) + "\n"},
	}
}

func (e *engine) content(key string) string {
	switch e.do("TYPE", key) {
	case "hash":
		return e.do("HGETALL", key)
	case "list":
		return e.do("LRANGE", key, "0", "-1")
	default:
		return e.do("GET", key)
	}
}

// meddler runs a function once, before the first pipeline that begins with a command.
type meddler struct {
	rueidis.Client
	before string
	do     func()
	done   bool
}

func (m *meddler) DoMulti(ctx context.Context, commands ...rueidis.Completed) []rueidis.RedisResult {
	if commands[0].Commands()[0] == m.before && !m.done {
		m.done = true
		m.do()
	}
	return m.Client.DoMulti(ctx, commands...)
}

func (m *meddler) Nodes() map[string]rueidis.Client { return map[string]rueidis.Client{"meddled": m} }

// info returns a section of INFO.
func (e *engine) info(section string) map[string]string {
	e.Helper()
	text, err := e.client.Do(e.Context(), e.client.B().Info().Section(section).Build()).ToString()
	if err != nil {
		e.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// log receives a sweeper's log.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines returns the log lines with this message.
func (l *log) lines(message string) []map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	for line := range bytes.Lines(l.text.Bytes()) {
		var attributes map[string]any
		if err := json.Unmarshal(line, &attributes); err != nil {
			panic(fmt.Sprintf("%v: %s", err, line))
		}
		if attributes["msg"] == message {
			found = append(found, attributes)
		}
	}
	return found
}

func (e *engine) run(s *sweeper.Sweeper) (stop func()) {
	ctx, cancel := context.WithCancel(e.Context())
	var ended sync.WaitGroup
	ended.Go(func() { s.Run(ctx) })
	stop = func() { cancel(); ended.Wait() }
	e.Cleanup(stop)
	return stop
}

func eventually(t testing.TB, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never held")
		}
	}
}
