package gate

import (
	"context"
	"slices"
	"time"

	"github.com/oncegate/oncegate/internal/backoff"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// probeEvery is how often, on average, a Redis in trouble is asked whether it is back.
const probeEvery = 200 * time.Millisecond

// keeper looks after a bucket's executions, in one goroutine. It
//   - renews their leases at a third of LockTTL,
//   - keeps in touch with Redis,
//   - flushes counters,
//   - and makes the healer put back what Redis may have lost.
//
// Each of its calls is bounded by RedisTimeout. Leases end in time even if the keeper is late (executions.add).
type keeper struct {
	bucket *bucket
	healer healer
	stop   context.CancelFunc
	ended  chan struct{}
}

func newKeeper(b *bucket) *keeper { return &keeper{bucket: b, healer: healer{bucket: b}} }

func (k *keeper) start() {
	ctx, stop := context.WithCancel(context.Background())
	k.stop, k.ended = stop, make(chan struct{})
	go func() {
		defer close(k.ended)
		k.run(ctx)
	}()
}

// close ends the keeper and waits until it has ended.
func (k *keeper) close() {
	k.stop()
	<-k.ended
}

func (k *keeper) run(ctx context.Context) {
	b := k.bucket
	timer := time.NewTimer(k.tick())
	defer timer.Stop()
	healed := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.link.Losses():
			healed = k.healer.heal()
		case <-timer.C:
			timer.Reset(untilNext(k.tick(), b.link.InTrouble()))
			if healed {
				b.renew(b.gate.options.LockTTL / 3)
				b.journal.expire(time.Now().Add(-b.gate.options.JournalAge))
			} else {
				healed = k.healer.heal()
			}
		}
		b.gate.workers.trim(time.Now().Add(-idleFor))
		b.forgets.track(b)
		b.heartbeat(k.tick())
		b.link.FailAbandoned()
	}
}

// untilNext returns the time from one turn of the keeper to the next. While Redis is in trouble it is random around a
// tick, so that replicas which were started together do not probe together.
func untilNext(tick time.Duration, inTrouble bool) time.Duration {
	if inTrouble {
		return backoff.Jitter(2 * tick)
	}
	return tick
}

// tick returns a time that is short enough for the most frequent of the keeper's duties.
func (k *keeper) tick() time.Duration {
	o := &k.bucket.gate.options
	tick := min(o.LockTTL/12, o.MetricsFlush, probeEvery)
	if o.Settle > 0 {
		tick = min(tick, o.Settle/8)
	}
	return max(tick, time.Millisecond)
}

// renew renews the leases that are at least age old. ok is false if Redis did not answer for all of them.
func (b *bucket) renew(age time.Duration) (ok bool) {
	ok = true
	for group := range slices.Chunk(b.executions.due(age), link.MaxGroup) {
		ops := make([]scripts.Op, len(group))
		for i, e := range group {
			op := scripts.Renew(e.flight.key, e.attempt, e.token, e.webhook.Digest, e.inDoubt, e.failures)
			ops[i] = op.In(e.webhook.Tenant.class(b))
		}
		replies, _, err := b.link.Batch(ops)
		if err != nil {
			return false
		}
		for i, e := range group {
			ok = b.renewed(e, replies[i]) && ok
		}
	}
	return ok
}

// renewed acts on the answer to a renewal, in any epoch: a lease that was renewed runs, and one that was lost to a
// later attempt is lost, whatever Redis has forgotten since. ok is false if Redis refused to write.
func (b *bucket) renewed(e *execution, reply link.Reply) (ok bool) {
	answer := reply.InAnyEpoch()
	switch answer.Verdict {
	case scripts.Renewed:
		b.executions.renewed(e, b.link.Lease(reply))
	case scripts.Restored:
		b.executions.renewed(e, b.link.Lease(reply))
		b.link.SuspectLoss()
	case scripts.Refused:
		switch r, err := record.Parse(answer.Record); {
		case err != nil || r.Token != e.token:
			b.leaseLost(e, answer.Record)
		case r.Reason == record.Expired: // the verdict on it keeps all other replicas away, as its lease did
			b.executions.renewed(e, b.link.Lease(reply))
		} // otherwise its own end came first
	case scripts.Error:
		return false // Redis may not have it back yet
	}
	return true
}

// leaseLost tells an execution's flight that Redis has another attempt. The logic is cancelled.
func (b *bucket) leaseLost(e *execution, value []byte) {
	g := b.gate
	if !b.executions.countUp(&g.running, e) { // for another driver
		return
	}
	e.successor = value // no other goroutine writes it, and none reads it before fate says so
	switch {
	case e.fate.CompareAndSwap(fateRuns, fateLost):
		e.lifetime.cancel(record.ErrLeaseLost)
		g.drive(e.flight)
	case e.fate.CompareAndSwap(fateWon, fateOvertaken), e.fate.CompareAndSwap(fateReturned, fateOvertaken):
		g.running.Done()
		e.flight.notify()
	default:
		g.running.Done()
		return
	}
	b.gate.meters.lost.Add(1)
	b.logOf(&e.webhook, e.attempt).Warn("lease lost: another execution of this webhook has begun; this one is " +
		"cancelled, and its result is not accepted")
}

// heartbeat makes the call that is due if there has been no other call for nearly a quarter of Settle, while something
// runs here or may have to be put back.
func (b *bucket) heartbeat(tick time.Duration) {
	b.link.Touch(b.executions.count() > 0 || !b.journal.empty(), b.gate.options.Settle/4-tick)
}
