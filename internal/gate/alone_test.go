package gate

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

// alone is a bucket without a keeper that runs, and its Redis, which a test may speak for.
type alone struct {
	*bucket
	testing.TB
	engine *redistest.Engine
	direct rueidis.Client // past the engine

	mu    sync.Mutex
	calls []string // of the script, by the key of the first record of each
	sizes []int    // how many records each of them had
}

func newAlone(t testing.TB, change func(*Options)) *alone {
	t.Helper()
	_, url := redistest.Embedded(t)
	addr := strings.TrimPrefix(url, "redis://")
	a := &alone{TB: t, engine: redistest.NewEngine(t, addr), direct: redistest.Client(t, addr)}
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{a.engine.Addr()}, ForceSingleClient: true, DisableCache: true, DisableRetry: true,
		AlwaysRESP2: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	a.bucket = bucketOf(client, change)
	if _, _, err := a.link.Handshake(); err != nil { // which teaches Redis the script
		t.Fatal(err)
	}
	a.hears(func() {})
	return a
}

// bucketOf returns the bucket of a gate that has not started.
func bucketOf(client rueidis.Client, change func(*Options)) *bucket {
	o := Options{
		Rules: Rules{
			ResultTTL: time.Hour, RejectedTTL: time.Minute, DoubtTTL: time.Hour, WaitTimeout: time.Minute,
			ExecutionTimeout: time.Minute, MaxResultBytes: 1 << 20,
		},
		LockTTL: time.Minute, RedisTimeout: 10 * time.Second, RedisPatience: 10 * time.Second,
		MetricsFlush: time.Hour, JournalBytes: 64 << 20, JournalAge: time.Hour,
		Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	g := New(o)
	g.client, g.keys = client, redis.NewKeys("cognigy")
	return newBucket(g, g.keys.Buckets()[0])
}

// nameless returns the tenant of webhooks in a bucket whose gate has not started.
func (b *bucket) nameless() *Tenant {
	g := b.gate
	if g.nameless == nil {
		g.buckets = []*bucket{b}
		g.nameless = g.Tenant(g.options.Rules)
	}
	return g.nameless
}

// asks returns a request for a fingerprint, whose body has a digest.
func (b *bucket) asks(f fingerprint.Fingerprint, digest record.Digest) *Request {
	return &Request{Tenant: b.nameless(), Fingerprint: f, Digest: digest}
}

// hears calls f at each call of the script, before Redis gets it, and notes the webhooks that the call is about.
func (a *alone) hears(f func()) {
	a.engine.Hears(func(command string) {
		words := strings.Fields(command)
		if words[0] != "EVALSHA" {
			return
		}
		a.mu.Lock()
		if keys, _ := strconv.Atoi(words[2]); keys > 2 {
			a.calls = append(a.calls, strings.ToLower(words[5]))
			a.sizes = append(a.sizes, keys-2)
		}
		a.mu.Unlock()
		f()
	})
}

// called returns the webhooks that the calls of the script were about, and the number of calls.
func (a *alone) called() (keys []string, sizes []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls), slices.Clone(a.sizes)
}

// says makes the script answer in its own form: this history, and no operation.
func (a *alone) says(history string) {
	noted := history + " 1"
	a.engine.Says("EVALSHA", "*4\r\n$"+string(rune('0'+len(noted)))+"\r\n"+noted+"\r\n$1\r\n1\r\n:0\r\n:3")
}

func (a *alone) key(f fingerprint.Fingerprint) string { return a.link.Keys.RecordOf("", f) }

func (a *alone) put(f fingerprint.Fingerprint, r record.Record) {
	a.Helper()
	redistest.Do(a, a.direct, "SET", a.key(f), string(record.Append(nil, r)))
}

func (a *alone) stands(f fingerprint.Fingerprint) record.Record {
	a.Helper()
	r, err := record.Parse([]byte(redistest.Do(a, a.direct, "GET", a.key(f))))
	if err != nil {
		a.Fatal(err)
	}
	return r
}

// notes puts a result into the journal, as one that Redis had before the last sign of loss.
func (a *alone) notes(f fingerprint.Fingerprint, bytes int) {
	now := time.Now()
	a.journal.add(a.nameless(), f, &record.Record{
		State: record.Done, Attempt: 1, Token: "noted", Stored: now, Ends: now.Add(time.Hour),
		Result: record.Result{Status: 200, ContentType: "text/plain", Body: make([]byte, bytes)},
	}, a.link.Epoch())
}

// executes lets an attempt of a fingerprint run under a lease that was sent a while ago.
func (b *bucket) executes(f fingerprint.Fingerprint, ago time.Duration) *execution {
	e := &execution{
		webhook: *b.asks(f, record.Digest{}),
		flight:  newFlight(b, b.asks(f, record.Digest{})), token: "ours", attempt: 1,
		lease: link.NewLease(time.Now().Add(-ago), time.Minute),
	}
	e.lifetime.gate, e.lifetime.deadline = context.Background(), time.Now().Add(time.Hour)
	e.fate.Store(fateRuns)
	b.executions.add(e)
	return e
}

func progressOf(token string, left time.Duration) record.Record {
	now := time.Now()
	return record.Record{
		State: record.InProgress, Attempt: 1, Token: token, Deadline: now.Add(left), Lease: time.Minute, Started: now,
	}
}

// ran returns a request whose logic gives a result at once.
type ran record.Result

func (r ran) Detach() Work { return r }

func (r ran) Run(context.Context, int64, bool) (record.Result, error) { return record.Result(r), nil }

func (ran) LogValue() slog.Value { return slog.StringValue("ran") }
