package gate

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// bucket is a share of the fingerprints, whose keys live in one hash slot, and all that this replica does for them and
// knows of their Redis. In Redis Cluster another bucket's Redis may be another server: what fails, settles or is healed
// in one is not felt in the others.
type bucket struct {
	*Gate
	keys redis.Bucket
	Log  *slog.Logger // the gate's, with the bucket's name where there are several

	flights   flights
	leases    leases
	counters  counters
	signals   signals
	health    health
	abandoned abandoned
	journal   journal
	committer committer

	intact scripts.History // under it Redis had all of the journal; the keeper's own

	lastCall atomic.Int64 // when the script last answered, Unix ns
	offset   atomic.Int64 // Redis' clock minus ours, ns
}

func newBucket(g *Gate, keys redis.Bucket) *bucket {
	b := &bucket{Gate: g, keys: keys, Log: g.Log}
	if len(g.keys.Buckets()) > 1 {
		b.Log = g.Log.With("bucket", string(keys))
	}
	b.flights.byName = make(map[fingerprint.Fingerprint]*flight)
	b.leases.running = make(map[*execution]struct{})
	b.journal.byKey = make(map[fingerprint.Fingerprint]*list.Element)
	if g.JournalBytes > 0 {
		b.journal.room = max(g.JournalBytes/len(g.keys.Buckets()), g.MaxResultBytes+seal.Overhead+entryOverhead)
	}
	b.signals.poke = make(chan struct{}, 1)
	b.committer.eager = eager
	if g.Ungrouped {
		b.committer.eager = maxInFlight
	}
	return b
}

// start makes the first call and waits until Redis has settled.
func (b *bucket) start(ctx context.Context) error {
	for {
		reply, err := b.call(nil)
		if err != nil {
			return b.explainStart(err)
		}
		if reply.Settling == 0 {
			b.intact = reply.History
			return nil
		}
		level := slog.LevelInfo
		if len(b.buckets) > 1 { // they all do
			level = slog.LevelDebug
		}
		b.Log.Log(ctx, level, "redis was started, restarted or failed over: waiting until replicas have put back what it lost",
			"left", reply.Settling)
		if err := sleep.For(ctx, reply.Settling); err != nil {
			return fmt.Errorf("waiting for redis to settle: %w", err)
		}
	}
}

// noCommand is what Redis, Valkey and their like say where a script may not run a command, or none of that name is there.
// Of those that a script needs, only INFO was not tried before (package redis).
var noCommand = regexp.MustCompile(`can't run this command|command called from script|not allowed from script|ACL failure in script`)

// explainStart says what a person can do where the first call failed for a reason that we know.
func (b *bucket) explainStart(err error) error {
	var refused *rueidis.RedisError
	if errors.As(err, &refused) && b.Settle > 0 && noCommand.MatchString(refused.Error()) {
		return fmt.Errorf("first call of the script: %w (it needs INFO inside scripts to notice a failover; "+
			"allow INFO, or say with SETTLE=0 that failovers may execute webhooks twice)", err)
	}
	return fmt.Errorf("first call of the script: %w", err)
}
