// Package gate is the heart: of all webhooks with one fingerprint, on however many replicas, it lets one execute and
// gives its result to all. It knows Redis and records, not HTTP.
//
// A webhook comes in through Replay, which answers it if it is done and known here. Otherwise it comes in through Do
// (caller.go), and joins the flight of its fingerprint or begins one. A flight goes through phases (flight.go). It
// claims by the script (claiming.go). If it wins, it runs the logic (execution.go) and stores its end (storing.go);
// otherwise it waits for another replica's (watching.go). Its bucket (bucket.go) talks with Redis over a link (package
// link). A keeper (keeper.go) renews all leases. After a loss it heals (healer.go), from the running executions and
// from the journal of what was answered (journal.go). docs/design.md has the rules and why they hold.
package gate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/hot"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/redis"
)

// Options are a gate's settings; docs/configuration.md has their meaning. All must be set except the switches and
// Settle, RedisPatience, JournalBytes, ReplicasAck and Trail, which mean "none" at 0.
type Options struct {
	Rules // for webhooks of no tenant

	LockTTL       time.Duration // the lease; renewed at a third of it
	Settle        time.Duration // how long nothing is decided after a possible loss; 0: no such wait
	RedisTimeout  time.Duration // one round trip
	RedisPatience time.Duration // how long a caller is kept if Redis does not answer; below WaitTimeout
	MetricsFlush  time.Duration // counters reach Redis within this time
	JournalBytes  int           // bound on the journal, over all buckets; 0: there is none
	JournalAge    time.Duration // how long the journal keeps an outcome
	ReplicasAck   int           // Redis replicas that must acknowledge a claim and a store
	Trail         int           // transitions that Redis keeps for people, over all buckets; 0: none

	Report  Report // which executions get a line in the log
	Replica string // this process' name in those lines and in records, for people; "": none

	// Ungrouped makes each operation a call of its own, to show what grouping brings.
	Ungrouped bool

	Log *slog.Logger
}

// Gate is safe for use by any number of goroutines once Start has returned. The fields above replayCache are fixed by
// then; the fields from there on guard themselves.
type Gate struct {
	options  Options
	process  string // names this process in its flushes; random, since containers share pids
	tokens   tokens
	client   rueidis.Client
	keys     redis.Keys
	tracking bool // Redis tells when a record changes

	buckets []*bucket   // several only in Redis Cluster
	started atomic.Bool // the fields above are set

	replayCache replayCache
	remarked    remarked // fingerprints that came with several bodies
	unopened    remarked // sealed records that could not be opened
	judged      remarked // webhooks that were told a verdict
	slots       link.Slots

	nameless *Tenant // the tenant of webhooks that belong to none
	usesMu   sync.Mutex
	uses     map[string]*use // by tenant; the lock guards it

	meters meters
	hot    hot.Touched // webhooks that had duplicates

	life    context.Context // ends when executions must end
	end     context.CancelCauseFunc
	running sync.WaitGroup // drivers of flights, and callers until they are counted
	workers workers
	drive   func(*flight) // gives a flight a driver, which running has counted already
}

// New returns a gate that can hear of invalidations (Invalidated) but does nothing before Start.
func New(o Options) *Gate {
	g := &Gate{options: o, process: rand.Text(), slots: link.NewSlots()}
	g.tokens.prefix = tokenPrefix(o.Replica, g.process)
	g.life, g.end = context.WithCancelCause(context.Background())
	g.workers.driven, g.drive = g.running.Done, g.workers.drive
	return g
}

// Start makes the first call of the script in every bucket and returns when Redis has settled, so that no webhook waits
// for it. With tracking, the store must deliver invalidations to Invalidated. The gate does not close the store.
func (g *Gate) Start(ctx context.Context, store *redis.Store) error {
	g.client, g.keys, g.tracking = store.Client, store.Keys, store.Tracking
	for i, keys := range g.keys.Buckets() {
		b := newBucket(g, keys)
		b.index = i
		g.buckets = append(g.buckets, b)
	}
	g.nameless = g.Tenant(g.options.Rules)
	g.started.Store(true)
	if err := g.each(func(b *bucket) error { return b.start(ctx) }); err != nil {
		return err
	}
	for _, b := range g.buckets {
		b.keeper.start()
	}
	return nil
}

// each calls do for all buckets at once, and returns the first error.
func (g *Gate) each(do func(b *bucket) error) error {
	errs := make(chan error, len(g.buckets))
	for _, b := range g.buckets {
		go func() { errs <- do(b) }()
	}
	var first error
	for range g.buckets {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

func (g *Gate) bucket(f fingerprint.Fingerprint) *bucket { return g.buckets[g.keys.Index(f)] }

// Replay answers a duplicate whose result this replica has seen lately, from the client-side cache: if the result is in
// it, without a round trip. ok is false if only Do can tell. Nothing in the cache is believed but a done record, and
// that only while no loss is suspected. Replay takes Arrived for the present time.
func (g *Gate) Replay(w Request) (a Answer, ok bool) {
	w.Tenant = g.Known(w.Tenant)
	return g.bucket(w.Fingerprint).replay(&w)
}

// Find returns what became of a fingerprint: Replayed, Processing, Failed (also if its execution was cut off), Missing,
// Unavailable, Foreign or Unreadable. It claims nothing and counts nothing.
func (g *Gate) Find(t *Tenant, f fingerprint.Fingerprint) Answer {
	return g.bucket(f).find(&Request{Tenant: g.Known(t), Fingerprint: f})
}

// Do answers a webhook within WaitTimeout: it claims and executes, or waits for the execution of another request. An
// execution goes on if its caller is answered earlier.
func (g *Gate) Do(w Request) Answer {
	w.Tenant = g.Known(w.Tenant)
	return g.bucket(w.Fingerprint).do(w)
}

// Known returns the tenant itself or, for nil, the tenant without a name.
func (g *Gate) Known(t *Tenant) *Tenant {
	if t == nil {
		return g.nameless
	}
	return t
}

// Ready reports whether Redis answers the script. In a cluster some buckets are enough, because webhooks of the others
// would fare no better on another replica. It writes as well, so that RefusesWrites is up to date.
func (g *Gate) Ready() error {
	var answered atomic.Bool
	err := g.each(func(b *bucket) error {
		err := b.link.Probe()
		if err == nil {
			answered.Store(true)
		}
		return err
	})
	if answered.Load() {
		return nil
	}
	return err
}

// RefusesWrites reports whether Redis takes no writes, by its answer to the last one: it is full, read-only, or cannot
// save. Results are still replayed then.
func (g *Gate) RefusesWrites() bool {
	return slices.ContainsFunc(g.buckets, func(b *bucket) bool { return b.link.RefusesWrites() })
}

// Invalidated takes what rueidis tells of its client-side cache (ClientOption.OnInvalidations): the keys that changed,
// or nil for all keys, when a connection is lost or Redis was flushed. It runs on the goroutine that reads the
// connection, so it never blocks.
func (g *Gate) Invalidated(keys []rueidis.RedisMessage) {
	if !g.started.Load() {
		return // nothing has been believed yet
	}
	if keys == nil {
		for _, b := range g.buckets { // rueidis does not tell which connection it was
			b.link.SuspectLoss()
			b.forgets.changed()
		}
		return
	}
	for i := range keys {
		key, err := keys[i].ToString()
		if err != nil {
			continue
		}
		if _, f, ok := g.keys.Parse(key); ok {
			g.replayCache.drop(f)
			g.bucket(f).flights.notify(f)
			continue
		}
		for _, b := range g.buckets {
			if key == b.forgets.key {
				b.forgets.changed()
			}
		}
	}
}

// CountOutside counts a request that became no webhook, such as link.Malformed. It has no fingerprint, and counts in
// the first bucket; t is nil if its tenant is not known. Strangers may send such requests, so it costs Redis no more
// than a share of the next flush.
func (g *Gate) CountOutside(t *Tenant, k link.Kind) {
	if g.started.Load() {
		g.buckets[0].count(g.Known(t), k)
	}
}

// Gauge writes a gauge, a field of the metrics hash that is no counter, in the background: the write may be late or
// lost.
func (g *Gate) Gauge(field string, value int64) {
	g.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), g.options.RedisTimeout)
		defer cancel()
		set := g.client.B().Hset().Key(g.keys.Metrics()).FieldValue().FieldValue(field, strconv.FormatInt(value, 10)).Build()
		if err := g.client.Do(ctx, set).Error(); err != nil {
			g.options.Log.Warn("a gauge was not written", "field", field, "error", err)
		}
	})
}

// Close accepts no more webhooks, lets executions finish and store until ctx ends, then cancels them, and flushes the
// counters. It returns an error about what it could not finish.
func (g *Gate) Close(ctx context.Context) error {
	for _, b := range g.buckets {
		b.flights.close()
	}
	err := wait(ctx, &g.running)
	g.end(errShutdown)
	if err != nil {
		executing := 0
		for _, b := range g.buckets {
			executing += b.executions.count()
		}
		// A cancelled execution has one round trip left to write that it failed, so that a retry need not wait for the lease.
		last, cancel := context.WithTimeout(context.Background(), 2*g.options.RedisTimeout)
		defer cancel()
		err = cutOff(executing)
		_ = wait(last, &g.running)
	}
	g.workers.end()
	return errors.Join(err, g.each(func(b *bucket) error {
		b.keeper.close()
		b.link.FailAbandoned()
		return b.link.FlushAll()
	}))
}

// cutOff is the error about executions that a shutdown could not wait for.
func cutOff(executions int) error {
	switch executions {
	case 0:
		return errors.New("requests were still waiting for redis and were answered 503")
	case 1:
		return errors.New("1 execution did not end in time and was cut off; it may have been done")
	}
	return fmt.Errorf("%d executions did not end in time and were cut off; they may have been done", executions)
}

func wait(ctx context.Context, group *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
