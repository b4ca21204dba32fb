package gate

import (
	"cmp"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/scripts"
)

// Rules are the settings for a tenant's webhooks; docs/configuration.md has their meaning. All must be set except Name,
// the switches, Seal and Admit, and RejectedTTL and the limits, which mean "none" at 0.
type Rules struct {
	Name             string        // "": there are no tenants
	ResultTTL        time.Duration // how long a record lives from its last write
	RejectedTTL      time.Duration // the same for a result with a status of 4xx; 0: it is told and not kept
	DoubtTTL         time.Duration // how long verdicts live and, with StopInDoubt, every record in progress or in doubt
	WaitTimeout      time.Duration // every caller is answered within this time
	ExecutionTimeout time.Duration // the logic's deadline
	MaxResultBytes   int
	MaxAttempts      int  // how many executions of a webhook may fail before it is executed no more; 0: no limit
	MaxExecutions    int  // at once in this process; 0: no limit
	MaxWaiters       int  // requests in Do at once; 0: no limit
	RejectMismatch   bool // a duplicate with another body than the first is refused
	StopInDoubt      bool // no attempt begins after one that may have had its effect
	Asks             bool // the logic finds out what became of an attempt in doubt before it acts

	// ExecutionsPerSecond bounds how many executions all replicas together begin, and Burst how many begin at once after a
	// rest; 0: no limit.
	ExecutionsPerSecond, Burst int

	Seal *seal.Keys // seals results for Redis and opens them; nil: they are stored as they are

	// Admit reports whether an execution may begin now and, if not, how long that will last (0: not known). While none may
	// begin, nothing is claimed. nil: one always may.
	Admit func() (wait time.Duration, ok bool)
}

// Tenant is the owner of a webhook: the rules for it, and what the tenant has under way in this process. So one tenant
// whose backend hangs takes no place from the others.
type Tenant struct {
	Rules
	classes []*scripts.Class // by bucket: the rules as the script needs them
	use     *use

	isSameBody func(found, own record.Digest) bool // sameBody, made once
}

// use is what a tenant has under way in this process, under any rules.
type use struct {
	waiting   atomic.Int64 // requests in Do
	executing atomic.Int64 // executions, and claims that may become one
	begun     atomic.Int64 // executions, since the start
	ended     [endings]atomic.Int64
	tallies   []*link.Tally
	limited   []atomic.Int64 // by bucket: until when no execution begins because of the rate; Unix ns
}

// Tenant returns the tenant of these rules. If there was one of the same name under other rules, the new one takes over
// what it has under way. The gate must have started.
func (g *Gate) Tenant(r Rules) *Tenant {
	g.usesMu.Lock()
	defer g.usesMu.Unlock()
	if g.uses == nil {
		g.uses = map[string]*use{}
	}
	u := g.uses[r.Name]
	if u == nil {
		u = &use{limited: make([]atomic.Int64, len(g.buckets))}
		for _, b := range g.buckets {
			u.tallies = append(u.tallies, b.link.Counters.Of(r.Name))
		}
		g.uses[r.Name] = u
	}
	t := &Tenant{Rules: r, use: u}
	t.isSameBody = t.sameBody
	for _, b := range g.buckets {
		t.classes = append(t.classes, r.class(b.link.Keys, len(g.buckets)))
		b.journal.fit(r.MaxResultBytes + seal.Overhead)
	}
	return t
}

// class returns the rules as the script needs them, for one bucket of so many. Each bucket has its share of the
// executions that may begin, and may begin at least one after a rest.
func (r *Rules) class(keys redis.Bucket, buckets int) *scripts.Class {
	c := &scripts.Class{
		TTL: r.ResultTTL, RejectedTTL: r.RejectedTTL, DoubtTTL: r.DoubtTTL, MaxAttempts: r.MaxAttempts,
		StopInDoubt: r.StopInDoubt,
	}
	if r.Name != "" {
		c.Counters = r.Name + "/"
	}
	if r.ExecutionsPerSecond > 0 {
		c.Tokens = keys.Tokens(r.Name)
		c.Every = time.Duration(buckets) * time.Second / time.Duration(r.ExecutionsPerSecond)
		c.Burst = max(cmp.Or(r.Burst, r.ExecutionsPerSecond)/buckets, 1)
	}
	return c
}

// class returns the tenant's class in a bucket.
func (t *Tenant) class(b *bucket) *scripts.Class { return t.classes[b.index] }

// log returns a logger that names the tenant, if it has a name.
func (t *Tenant) log(l *slog.Logger) *slog.Logger {
	if t.Name == "" {
		return l
	}
	return l.With("tenant", t.Name)
}

// limitedFor returns how long no execution begins in a bucket, because as many were begun as may be.
func (t *Tenant) limitedFor(b *bucket) time.Duration {
	if t.ExecutionsPerSecond == 0 {
		return 0
	}
	return time.Until(time.Unix(0, t.use.limited[b.index].Load()))
}

// limit notes that no execution begins in a bucket for so long.
func (t *Tenant) limit(b *bucket, left time.Duration) {
	t.use.limited[b.index].Store(time.Now().Add(left).UnixNano())
}
