package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/sleep"
)

// bucket is a share of the fingerprints, whose keys are in one hash slot. It holds all that this replica does for them
// and knows of their Redis. In Redis Cluster another bucket's Redis may be another server: failures, settling and
// healing of one bucket do not affect the others.
type bucket struct {
	gate  *Gate
	index int // index in the gate's buckets
	link  *link.Link
	log   *slog.Logger // the gate's, with the bucket's name if there are several

	flights    flights
	executions executions
	journal    journal
	forgets    forgets
	keeper     *keeper
}

func newBucket(g *Gate, keys redis.Bucket) *bucket {
	o := &g.options
	b := &bucket{gate: g, log: o.Log}
	if len(g.keys.Buckets()) > 1 {
		b.log = o.Log.With("bucket", string(keys))
	}
	b.link = link.New(link.Options{
		Settings: link.Settings{
			LockTTL: o.LockTTL, Settle: o.Settle, RedisTimeout: o.RedisTimeout, RedisPatience: o.RedisPatience,
			MetricsFlush: o.MetricsFlush, ReplicasAck: o.ReplicasAck, Ungrouped: o.Ungrouped,
		},
		Trail:  g.keys.Share(o.Trail),
		Client: g.client, Keys: keys, Class: o.class(keys, 1), Process: g.process, Slots: g.slots, Log: b.log,
	})
	b.flights.byFingerprint = make(map[fingerprint.Fingerprint]*flight)
	b.journal.byFingerprint = make(map[fingerprint.Fingerprint]*entry)
	if o.JournalBytes > 0 {
		b.journal.room = o.JournalBytes / len(g.keys.Buckets())
	}
	b.forgets.key = keys.Forgets()
	b.keeper = newKeeper(b)
	return b
}

// start makes the first call and waits until Redis has settled. It repeats a call that has no answer, until Redis has
// been silent for RedisPatience.
func (b *bucket) start(ctx context.Context) error {
	again := link.Pauses()
	for {
		history, left, err := b.link.Handshake()
		if err != nil {
			_, refused := errors.AsType[*rueidis.RedisError](err)
			if refused || b.link.InTroubleFor(b.gate.options.RedisPatience) || sleep.For(ctx, again.Next()) != nil {
				return b.explainStart(err)
			}
			continue
		}
		if left == 0 {
			b.keeper.healer.confirmedUnder = history
			return nil
		}
		level := slog.LevelInfo
		if len(b.gate.buckets) > 1 { // all buckets log this line
			level = slog.LevelDebug
		}
		b.log.Log(ctx, level, "redis was started, restarted or failed over: waiting until replicas have put back "+
			"what it lost",
			"left", left)
		if err := sleep.For(ctx, left); err != nil {
			return fmt.Errorf("waiting for redis to settle: %w", err)
		}
	}
}

// noCommand matches the errors of Redis, Valkey and their like if a script may not run a command, or if they have no
// such command. Of the commands that the script needs, only INFO was not tried before (package redis).
var noCommand = regexp.MustCompile(
	`can't run this command|command called from script|not allowed from script|ACL failure in script`,
)

// explainStart adds to the error of the first call what a person can do about it, if we know its reason.
func (b *bucket) explainStart(err error) error {
	var refused *rueidis.RedisError
	if errors.As(err, &refused) && b.gate.options.Settle > 0 && noCommand.MatchString(refused.Error()) {
		return fmt.Errorf("first call of the script: %w (it needs INFO inside scripts to notice a failover; "+
			"allow INFO, or say with SETTLE=0 that failovers may execute webhooks twice)", err)
	}
	return fmt.Errorf("first call of the script: %w", err)
}
