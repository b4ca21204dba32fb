package gate

import (
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/internal/hot"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/meter"
)

// Ending is how an execution ended.
type Ending uint8

// The endings.
const (
	EndedStored     Ending = iota // with a result
	EndedReconciled               // the backend was only asked for what an earlier attempt had brought
	EndedRejected                 // with a final refusal (4xx), kept or not
	EndedFailed                   // without a result: the next delivery executes again
	EndedOvertaken                // another execution had begun, and this one's end was not accepted
	EndedNotStored                // Redis did not take its end before the gate closed, or the key has a foreign value
	endings
)

// String returns the ending's word in logs and metrics.
func (e Ending) String() string {
	return [endings]string{"stored", "reconciled", "rejected", "failed", "overtaken", "not stored"}[e]
}

// Endings returns all endings.
func Endings() []Ending {
	return []Ending{EndedStored, EndedReconciled, EndedRejected, EndedFailed, EndedOvertaken, EndedNotStored}
}

// meters has what a gate counts of its own executions, for those who watch it.
type meters struct {
	took      meter.Histogram // the logic's own time, in seconds
	takeovers atomic.Int64
	lost      atomic.Int64 // leases
	events    events
}

// Snapshot is what a gate does at a moment, and what it has done since it started.
type Snapshot struct {
	Share                       // of all webhooks
	Tenants    map[string]Share // they add up to Share; "" is for requests of no tenant
	Took       meter.Reading    // seconds that the logic took
	Takeovers  int64
	LostLeases int64 // running executions that another one has overtaken

	RedisUp       bool
	RefusesWrites bool          // Redis takes no writes
	Epochs        uint64        // losses of Redis that were suspected
	Restored      int64         // records that this replica put back
	Calls         meter.Reading // seconds that each call of the script took
	Groups        meter.Reading // operations in each call

	ReplayCacheBytes, JournalBytes int64
}

// Share is the part of a Snapshot that is about all webhooks, or about those of one tenant.
type Share struct {
	Counts    link.Totals // of requests
	Begun     int64       // executions
	Ended     [endings]int64
	Waiting   int64 // requests in Do
	Executing int64 // executions, and claims that may become one

	Oldest time.Duration // for how long the oldest running execution has run; 0: none runs
}

// Snapshot reads everything once. It takes each bucket's locks for a moment, and no request's.
func (g *Gate) Snapshot() (s Snapshot) {
	s.Tenants = g.shares()
	for _, of := range s.Tenants {
		s.Counts.Add(&of.Counts)
		s.Begun += of.Begun
		s.Waiting, s.Executing = s.Waiting+of.Waiting, s.Executing+of.Executing
		for i, n := range of.Ended {
			s.Ended[i] += n
		}
	}
	s.Took, s.Takeovers, s.LostLeases = g.meters.took.Read(), g.meters.takeovers.Load(), g.meters.lost.Load()
	s.ReplayCacheBytes = g.replayCache.bytes.Load()
	if !g.started.Load() {
		return s
	}
	s.RedisUp = true
	for _, b := range g.buckets {
		for tenant, age := range b.executions.oldest() {
			of := s.Tenants[tenant]
			of.Oldest = max(of.Oldest, age)
			s.Tenants[tenant], s.Oldest = of, max(s.Oldest, age)
		}
		s.JournalBytes += int64(b.journal.size())
		s.RedisUp = s.RedisUp && !b.link.Silent()
		s.RefusesWrites = s.RefusesWrites || b.link.RefusesWrites()
		s.Epochs += uint64(b.link.Epoch())
		s.Restored += b.link.Restored.Load()
		calls, groups := b.link.Calls.Read(), b.link.Groups.Read()
		s.Calls.Add(&calls)
		s.Groups.Add(&groups)
	}
	return s
}

// shares returns the Share of each tenant, by name.
func (g *Gate) shares() map[string]Share {
	g.usesMu.Lock()
	defer g.usesMu.Unlock()
	shares := make(map[string]Share, len(g.uses))
	for name, u := range g.uses {
		s := Share{Begun: u.begun.Load(), Waiting: u.waiting.Load(), Executing: u.executing.Load()}
		for i := range s.Ended {
			s.Ended[i] = u.ended[i].Load()
		}
		for i, b := range g.buckets {
			counts := b.link.Counters.Totals(u.tallies[i])
			s.Counts.Add(&counts)
		}
		shares[name] = s
	}
	return shares
}

// Hot counts duplicates by webhook, from when somebody watches it.
func (g *Gate) Hot() *hot.Touched { return &g.hot }

// Now is the time by Redis' clock, as the last reply showed it.
func (g *Gate) Now() time.Time { return g.buckets[0].link.Now() }

// oldest returns for how long the oldest running execution of each tenant has run, if the tenant has one.
func (s *executions) oldest() map[string]time.Duration {
	ages := make(map[string]time.Duration)
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.first; e != nil; e = e.behind {
		ages[e.webhook.Tenant.Name] = max(ages[e.webhook.Tenant.Name], time.Since(e.began))
	}
	return ages
}

func (j *journal) size() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.bytes
}
