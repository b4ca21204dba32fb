// Package gate is the heart: of all webhooks with one fingerprint, on however many replicas, it lets one execute and
// gives its result to all. It knows Redis and records, not HTTP.
//
// A webhook comes in through Replay (is it done, and known here?) and, where that does not answer, through Do: it joins
// the flight of its fingerprint, or starts one. A flight claims by the script (claim.go), then runs the logic and ends
// it (execution.go), or waits for another replica's (watch.go). One keeper (keep.go) renews all leases, flushes
// counters and sees Redis come back. What this replica believes of what Redis said is in believe.go.
// docs/design.md has the rules and why they hold.
package gate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/sleep"
)

// Options are a gate's settings; the README's section "Configuration" has their meaning. All must be set but Settle and
// RedisPatience, where 0 means "none", RejectMismatch and Admit.
type Options struct {
	Keys redis.Keys

	LockTTL          time.Duration // the lease; renewed at a third of it
	ResultTTL        time.Duration // how long a record lives from its last write
	RejectedTTL      time.Duration // how long one lives whose result has a status of 4xx
	WaitTimeout      time.Duration // every caller's answer comes within it
	ExecutionTimeout time.Duration // the logic's deadline
	Settle           time.Duration // 0: nothing is decided later because Redis may have forgotten
	RedisTimeout     time.Duration // one round trip
	RedisPatience    time.Duration // how long a caller is kept while Redis does not answer; below WaitTimeout
	MetricsFlush     time.Duration // counters reach Redis within it
	MaxResultBytes   int
	RejectMismatch   bool // a duplicate with another body than the first is not served

	// Admit reports whether an execution may begin now; nil: always. Without it nothing is claimed.
	Admit func() bool

	// Ungrouped makes each operation a call of its own, to show what grouping brings.
	Ungrouped bool

	Log *slog.Logger
}

// Gate is safe for use by any number of goroutines once Start has returned.
type Gate struct {
	Options
	process  string // names this process in its flushes; random, since containers share pids
	client   rueidis.Client
	tracking bool // Redis tells when a record changes

	flights   flights
	leases    leases
	seen      seen
	counters  counters
	signals   signals
	health    health
	abandoned abandoned
	committer committer

	slots    chan struct{} // bounds the calls in flight towards Redis
	looks    atomic.Int64  // into the cache, under way
	lastCall atomic.Int64  // when the script last answered, Unix ns
	offset   atomic.Int64  // Redis' clock minus ours, ns

	life    context.Context // ends when executions must
	end     context.CancelCauseFunc
	running sync.WaitGroup // flights, and callers until they are counted
	keeper  sync.WaitGroup
	stop    context.CancelFunc // the keeper
}

// maxInFlight bounds the script calls, and the looks into the cache, that are under way at once, well below the slots of
// a connection's ring (1024): a full ring holds a caller past its deadline.
const maxInFlight = 512

// New returns a gate that can hear of invalidations (Invalidated) but does nothing before Start.
func New(o Options) *Gate {
	g := &Gate{Options: o, process: rand.Text(), slots: make(chan struct{}, maxInFlight)}
	g.life, g.end = context.WithCancelCause(context.Background())
	g.flights.byName = make(map[fingerprint.Fingerprint]*flight)
	g.leases.running = make(map[*execution]struct{})
	g.signals.poke = make(chan struct{}, 1)
	g.committer.eager = eager
	if o.Ungrouped {
		g.committer.eager = maxInFlight
	}
	return g
}

// Start makes the first call of the script and returns when Redis has settled, so that no webhook waits for it. With
// tracking, the client must deliver invalidations to Invalidated. The gate does not close the client.
func (g *Gate) Start(ctx context.Context, client rueidis.Client, tracking bool) error {
	g.client, g.tracking = client, tracking
	for {
		reply, err := g.call(nil)
		if err != nil {
			return g.explainStart(err)
		}
		if reply.Settling == 0 {
			break
		}
		g.Log.Info("redis has a history that was not met before: settling", "left", reply.Settling)
		if err := sleep.For(ctx, reply.Settling); err != nil {
			return fmt.Errorf("waiting for redis to settle: %w", err)
		}
	}
	keeping, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.keeper.Go(func() { g.keep(keeping) })
	return nil
}

// noCommand is what Redis, Valkey and their like say where a script may not run a command, or none of that name is there.
// Of those that a script needs, only INFO was not tried before (package redis).
var noCommand = regexp.MustCompile(`can't run this command|command called from script|not allowed from script`)

// explainStart says what a person can do where the first call failed for a reason that we know.
func (g *Gate) explainStart(err error) error {
	var refused *rueidis.RedisError
	if errors.As(err, &refused) && g.Settle > 0 && noCommand.MatchString(refused.Error()) {
		return fmt.Errorf("first call of the script: %w (it needs INFO inside scripts to notice a failover; "+
			"allow INFO, or say with SETTLE=0 that failovers may execute webhooks twice)", err)
	}
	return fmt.Errorf("first call of the script: %w", err)
}

// Ready reports whether Redis answers the script.
func (g *Gate) Ready() error {
	_, err := g.call(nil)
	return err
}

// Close takes no more webhooks, lets executions finish and store until ctx ends, then cancels them, and flushes the
// counters. It returns what it could not finish.
func (g *Gate) Close(ctx context.Context) error {
	g.flights.close()
	err := wait(ctx, &g.running)
	g.end(errShutdown)
	if err != nil {
		// What is cancelled has one round trip left to say that it failed, so that a retry need not wait for the lease.
		last, cancel := context.WithTimeout(context.Background(), 2*g.RedisTimeout)
		defer cancel()
		err = fmt.Errorf("%d executions cancelled: %w", g.leases.count(), err)
		_ = wait(last, &g.running)
	}
	g.stop()
	g.keeper.Wait()
	g.failAbandoned()
	return errors.Join(err, g.flushAll())
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
