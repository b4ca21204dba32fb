package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/scripts"
)

// errNotSent says that Redis can't have done anything of a call.
var errNotSent = errors.New("not sent")

// call makes one call of the script, with the operations given and the counters that are due. Its answers are in the
// order of the operations. An error means that no answer is known; errNotSent that nothing was done either.
func (b *bucket) call(ops []scripts.Op) (scripts.Reply, error) {
	return b.send(ops, b.counters.take(b.MetricsFlush, false))
}

func (b *bucket) send(ops []scripts.Op, flush scripts.Flush) (reply scripts.Reply, err error) {
	defer func() { b.counters.done(flush, err == nil && reply.Flushed) }()

	// Not the caller's context: what was begun is seen through, within one round trip.
	ctx, cancel := context.WithTimeout(context.Background(), b.RedisTimeout)
	defer cancel()
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return reply, fmt.Errorf("%d script calls under way: %w", maxInFlight, errNotSent)
	}

	reply, err = scripts.Run(ctx, b.client, scripts.Call{
		Metrics: b.keys.Metrics(), Flushed: b.keys.Flush(b.process),
		Settle: b.Settle, Lease: b.LockTTL, TTL: b.ResultTTL,
		MaxAttempts: b.MaxAttempts, StopInDoubt: b.StopInDoubt, DoubtTTL: b.DoubtTTL, Acks: b.ReplicasAck, Timeout: b.RedisTimeout,
		Flush: flush, Ops: ops,
	})
	if err != nil {
		b.missed(err)
		if notDone(err) {
			err = notSent{err}
		}
		return reply, err
	}
	b.heard(reply, flush.Number > 0)
	return reply, nil
}

// missed notes a call without a reply. The first one is logged; so is what Redis says itself, each time it says
// another thing: a Redis that was away and comes back without the gateway's user must not look like one that is away.
func (b *bucket) missed(err error) {
	code := ""
	if said, ok := errors.AsType[*rueidis.RedisError](err); ok {
		code, _, _ = strings.Cut(said.Error(), " ")
	}
	before, _ := b.health.said.Swap(code).(string)
	switch {
	case b.health.silent.begin() && code == "":
		b.Log.Warn("redis does not answer", "error", err)
	case code != "" && code != before:
		b.Log.Error("redis answers, and turns this gateway away: webhooks get 503", "error", err, "likely", redis.Likely(err))
	}
}

// heard notes what every reply tells beside its answers.
func (b *bucket) heard(reply scripts.Reply, wrote bool) {
	now := time.Now()
	b.lastCall.Store(now.UnixNano())
	b.offset.Store(int64(reply.Now.Sub(now)))
	if d := b.health.silent.end(); d > 0 {
		b.health.said.Store("")
		b.Log.Info("redis answers again", "after", d)
	}
	if b.signals.told(reply.History) {
		b.Log.Warn("redis was restarted, failed over or flushed: new work waits until replicas have put back what it lost",
			"at_least", b.Settle, "replication_id", reply.History.ID)
	}
	if reply.Short {
		if b.health.refusing.begin() {
			b.Log.Error("too few replicas of redis acknowledge writes: nothing is begun or answered",
				"REPLICAS_ACK", b.ReplicasAck)
		}
		return
	}
	took := wrote && reply.Flushed
	if wrote && !reply.Flushed {
		b.refused("counters were not taken")
	}
	for _, a := range reply.Answers {
		switch a.Verdict {
		case scripts.Claimed, scripts.Renewed, scripts.Stored, scripts.Failed, scripts.Restored:
			took = true
		case scripts.Error:
			b.refused(a.Text)
		}
	}
	if took {
		if d := b.health.refusing.end(); d > 0 {
			b.Log.Info("redis takes writes again", "after", d)
		}
	}
}

// refused notes that Redis refused a write, in its words.
func (b *bucket) refused(words string) {
	if b.health.refusing.begin() {
		b.Log.Error("redis refuses writes: new work waits, then gets 503", "error", words)
	}
}

// saidBefore are the codes with which Redis, Valkey and Redis Cluster turn a call away before any of its script runs:
// the caller is not let in, the script is not known, the server loads or is busy, or another server has the keys. A
// code that a command inside of a script raises too (READONLY, OOM, MISCONF, NOREPLICAS, ERR) proves nothing, and is
// not among them.
var saidBefore = []string{
	"NOSCRIPT", "NOAUTH", "WRONGPASS", "NOPERM", "NOPROTO", "LOADING", "BUSY", "MASTERDOWN",
	"CLUSTERDOWN", "CROSSSLOT", "MOVED", "ASK", "TRYAGAIN",
}

// notDone reports whether a call certainly failed before any of its operations: no connection could be made (refused,
// or not set up, which rueidis calls ErrNoCache), or Redis turned the whole of it away. An error that was raised
// inside of the script has its place in it (user_script): operations before that place may have been done.
func notDone(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, rueidis.ErrNoCache) {
		return true
	}
	var refused *rueidis.RedisError
	if !errors.As(err, &refused) || strings.Contains(refused.Error(), "user_script") {
		return false
	}
	code, _, _ := strings.Cut(refused.Error(), " ")
	return slices.Contains(saidBefore, code)
}

// notSent marks an error as one of a call of which Redis has done nothing.
type notSent struct{ error }

func (e notSent) Unwrap() []error { return []error{e.error, errNotSent} }
