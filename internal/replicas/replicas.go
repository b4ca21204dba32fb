// Package replicas lets every replica show the whole. Each one looks at itself once a second, and writes a line about
// that into Redis every few seconds, where the others read it. No webhook waits for it or knows of it.
package replicas

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/hot"
	"github.com/oncegate/oncegate/internal/meter"
	"github.com/oncegate/oncegate/internal/redis"
)

// How often a replica writes, and how many of its last seconds: enough for a reader who missed two lines.
const (
	every    = 2 * time.Second
	told     = 20 // seconds
	perEvery = 25 // replicas: for each so many, the pause grows by every, since each replica reads all lines
)

// silent is the number of missing lines after which a replica counts as gone.
const silent = 3

// Options are the parts that the replicas are made of.
type Options struct {
	Store   *redis.Store
	Observe func() Observation // looks at this replica
	Name    string             // host and process number
	Address string             // the address at which it takes webhooks
	Version string
	Ready   func() error  // nil: it serves webhooks; the call may take a while
	Timeout time.Duration // of one exchange with Redis
	Log     *slog.Logger
}

// Replicas are this replica and all others that write to the same Redis.
type Replicas struct {
	Options
	id string

	mu      sync.Mutex // guards the fields below
	whole   window     // of all replicas
	own     []Second   // the last few seconds of this replica
	line    Line
	before  *Observation // of the last second
	minute  []Observation
	arrived int64 // deliveries so far: never falls
	others  map[string]*other
	tenants tenants
	backend backends // of this replica
	detail  Detail
}

// other is another replica.
type other struct {
	line Line
	last int64 // the last second that was added to the whole
	seen time.Time
}

// New returns replicas of which only this one is known.
func New(o Options) *Replicas {
	return &Replicas{Options: o, id: rand.Text()[:8], others: make(map[string]*other), backend: make(backends)}
}

// Run looks at this replica once a second, and talks with the others, until ctx ends.
func (r *Replicas) Run(ctx context.Context) {
	var talking sync.WaitGroup
	if !r.Store.Embedded { // an embedded store has one process
		talking.Go(func() { r.talk(ctx) })
	}
	defer talking.Wait()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		r.look()
		select {
		case <-ctx.Done():
			return
		case <-second.C:
		}
	}
}

// look adds what has happened since the last look.
func (r *Replicas) look() {
	now := r.Observe()
	r.mu.Lock()
	defer r.mu.Unlock()
	// A request is counted when it is answered, but requests that still wait have arrived too.
	arrived := max(r.arrived, requests(&now.Gate.Share)+now.Gate.Waiting)
	second := Second{At: now.Now / 1000}
	if r.before != nil {
		second = difference(second, r.before, &now)
		second[Deliveries] = arrived - r.arrived
	}
	r.keep(second)
	at := r.own[len(r.own)-1][At]
	exchanged, whole := r.backend.look(now.Backends, at)
	now.Backends = nil // the marks have kept the part that is needed
	r.tenants.look(now.Gate.Tenants, exchanged, at, r.before == nil)
	r.arrived, r.before = arrived, &now
	r.minute = append(r.minute, now)
	r.minute = r.minute[max(len(r.minute)-60, 0):]
	r.line = r.describe(&now, whole)
	r.detail = Detail{ID: r.id, Hot: now.Hot, Events: now.Events}
}

// keep adds a second of this replica. A second from an early tick, or from a clock that was stepped back, is added to
// the last one. The lock is held.
func (r *Replicas) keep(s Second) {
	if last := len(r.own) - 1; last >= 0 && s[At] <= r.own[last][At] {
		s[At] = r.own[last][At]
		r.own[last] = Sum([]Second{r.own[last], s})
	} else {
		r.own = append(r.own, s)
		r.own = r.own[max(len(r.own)-told, 0):]
	}
	r.whole.add(s)
}

// describe returns this replica's line about itself. The lock is held.
func (r *Replicas) describe(now *Observation, exchanged *Exchange) Line {
	g, first := &now.Gate, &r.minute[0]
	l := Line{
		ID: r.id, Name: r.Name, Address: r.Address, Version: r.Version, Started: r.line.Started, Wrote: now.Now,
		Seconds: slices.Clone(r.own), Tenants: r.tenants.tell(),
		Waiting: g.Waiting, Executing: g.Executing, OldestMS: g.Oldest.Milliseconds(),
		Ready: r.line.Ready || r.line.Started == 0, RedisUp: g.RedisUp, RefusesWrites: g.RefusesWrites,
		ReplayCacheBytes: g.ReplayCacheBytes, JournalBytes: g.JournalBytes,
		Latency:   make(map[string]Cells),
		RedisCall: between(&g.Calls, &first.Gate.Calls), GroupSize: between(&g.Groups, &first.Gate.Groups),
		Backend: exchanged,
	}
	l.Started = cmp.Or(l.Started, now.Now/1000)
	for outcome, took := range now.Took {
		before := first.Took[outcome]
		if cells := between(&took, &before); len(cells) > 0 {
			l.Latency[outcome] = cells
		}
	}
	return l
}

func between(now, before *meter.Reading) Cells {
	r := *now
	r.Sub(before)
	return cellsOf(&r)
}

// View is the state of all replicas at a moment.
type View struct {
	ID       string // of this replica
	Now      int64  // Unix milliseconds, by Redis' clock
	Seconds  []Second
	Replicas []Seen // this one first, then by name
}

// Seen is a replica's line, with whether the replica is still there.
type Seen struct {
	Line
	Gone bool // it was silent for three lines
}

// Since returns the whole from a second (Unix) on.
func (r *Replicas) Since(second int64) View {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := View{ID: r.id, Now: r.line.Wrote, Seconds: r.whole.since(second, r.line.Wrote/1000)}
	for _, o := range r.others {
		v.Replicas = append(v.Replicas, Seen{o.line, time.Since(o.seen) > silent*r.pace()})
	}
	slices.SortFunc(v.Replicas, func(a, b Seen) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	v.Replicas = slices.Insert(v.Replicas, 0, Seen{Line: r.line})
	return v
}

// Now is Redis' clock at the last look, in Unix seconds.
func (r *Replicas) Now() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.line.Wrote / 1000
}

// pace returns how often each replica writes and reads: the more replicas there are, the rarer. The lock is held.
func (r *Replicas) pace() time.Duration { return every * time.Duration(1+len(r.others)/perEvery) }

// Details returns what all replicas report for viewers: the hot list of all, and recent events, the newest first.
func (r *Replicas) Details(ctx context.Context) ([]hot.Item, []gate.Event) {
	r.mu.Lock()
	details := []Detail{r.detail}
	ids := make([]string, 0, len(r.others))
	for id := range r.others {
		ids = append(ids, id)
	}
	r.mu.Unlock()
	details = append(details, r.readDetails(ctx, ids)...)
	var lists [][]hot.Item
	var events []gate.Event
	for _, d := range details {
		lists, events = append(lists, d.Hot), append(events, d.Events...)
	}
	slices.SortFunc(events, func(a, b gate.Event) int { return b.At.Compare(a.At) })
	return hot.Merge(lists...), gate.Fairly(events, mostEvents)
}

const mostEvents = 50
