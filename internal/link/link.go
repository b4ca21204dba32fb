// Package link is one bucket's conversation with its Redis. It sends operations of the script, in groups, with the
// counters that are due, and reads records through the client-side cache. It knows no webhook, no flight and no HTTP.
//
// Everything that Redis says comes as a Fact, with the epoch in which it was asked. A fact gives out its value only
// while that epoch is current, because an answer to a question from before a suspected loss proves nothing (epoch.go).
// This rule keeps a webhook from being executed twice after a failover.
package link

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/backoff"
	"github.com/oncegate/oncegate/internal/meter"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/scripts"
)

// Settings are the settings of a call of the script and of waiting for it.
type Settings struct {
	LockTTL       time.Duration // the lease that a claim or a renewal gets
	Settle        time.Duration // how long nothing is decided after a possible loss; 0: no such wait
	RedisTimeout  time.Duration // one round trip
	RedisPatience time.Duration // how long a claim is repeated while Redis does not answer
	MetricsFlush  time.Duration // counters reach Redis within this time
	ReplicasAck   int           // Redis replicas that must acknowledge a claim and a store
	Ungrouped     bool          // each operation is a call of its own, to show what grouping brings
}

// Options are the parts that a link is made of.
type Options struct {
	Settings

	Client  rueidis.Client
	Keys    redis.Bucket
	Trail   int            // transitions that the bucket's trail keeps; 0: there is none
	Class   *scripts.Class // of operations that name none
	Process string         // names this process in its counter flushes
	Slots   Slots          // shared by all links of a process
	Log     *slog.Logger
}

// Link is safe for use by any number of goroutines.
type Link struct {
	// Fixed at construction.
	Options
	metrics, flushed string // keys
	trail            scripts.Trail

	Counters Counters

	Calls    meter.Histogram // seconds that a call with operations took
	Groups   meter.Histogram // operations of such a call
	Restored atomic.Int64    // records that were put back

	epochs    epochs
	health    health
	group     group
	abandoned abandoned

	lastCall atomic.Int64 // when the script last answered, Unix ns
	offset   atomic.Int64 // Redis' clock minus ours, ns
}

// New returns a link that has not called yet.
func New(o Options) *Link {
	l := &Link{Options: o, metrics: o.Keys.Metrics(), flushed: o.Keys.Flush(o.Process)}
	if o.Trail > 0 {
		l.trail = scripts.Trail{Stream: o.Keys.Trail(), Keep: o.Trail}
	}
	l.epochs.losses = make(chan struct{}, 1)
	l.group.eager = eager
	if o.Ungrouped {
		l.group.eager = maxInFlight
	}
	return l
}

// Now is Redis' clock, as the last reply showed it.
func (l *Link) Now() time.Time { return l.At(time.Now()) }

// At is Redis' clock at a moment of ours.
func (l *Link) At(t time.Time) time.Time { return t.Add(time.Duration(l.offset.Load())) }

// maxInFlight bounds the script calls, and the looks into the cache, that are under way at once. It is well below the
// slots of a connection's ring (1024), because a full ring holds a caller past its deadline.
const maxInFlight = 512

// Slots bound how many calls and looks are under way to Redis at once, over all links of a process.
type Slots struct {
	calls chan struct{}
	looks *atomic.Int64 // into the cache
}

// NewSlots returns the slots of one process.
func NewSlots() Slots {
	return Slots{calls: make(chan struct{}, maxInFlight), looks: new(atomic.Int64)}
}

// Pauses returns the pauses before a call without an answer is repeated.
func Pauses() backoff.Backoff {
	return backoff.Backoff{First: 20 * time.Millisecond, Most: 400 * time.Millisecond}
}

// Handshake makes the first call. It returns the history of Redis, and how long Redis still settles.
func (l *Link) Handshake() (scripts.History, time.Duration, error) {
	reply, err := l.send(new(scripts.Call), l.due())
	return reply.History, reply.Settling, err
}
