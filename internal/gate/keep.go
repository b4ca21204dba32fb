package gate

import (
	"context"
	"slices"
	"time"

	"github.com/oncegate/oncegate/internal/backoff"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// probeEvery is how often, on average, a Redis that is away is asked whether it is back.
const probeEvery = 200 * time.Millisecond

// keep is the one goroutine that looks after all executions: it renews their leases at a third of LockTTL, keeps in
// touch with Redis, flushes counters, and heals when a signal of a loss comes. Each of its calls is bounded by
// RedisTimeout; that leases end in time does not depend on it (leases.add).
func (b *bucket) keep(ctx context.Context) {
	timer := time.NewTimer(b.tick())
	defer timer.Stop()
	healed := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.signals.poke:
			healed = b.heal()
		case <-timer.C:
			timer.Reset(b.untilNext())
			if healed {
				b.renew(b.LockTTL / 3)
				b.journal.expire(time.Now().Add(-b.JournalAge))
			} else {
				healed = b.heal()
			}
		}
		b.touch()
		b.failAbandoned()
	}
}

// untilNext is the time from one turn of the keeper to the next. While Redis is in trouble it is of any length around
// a tick, so that replicas which were started together do not probe together.
func (b *bucket) untilNext() time.Duration {
	if b.health.bad() {
		return backoff.Jitter(2 * b.tick())
	}
	return b.tick()
}

// tick is short enough for whatever is due first.
func (b *bucket) tick() time.Duration {
	tick := min(b.LockTTL/12, b.MetricsFlush, probeEvery)
	if b.Settle > 0 {
		tick = min(tick, b.Settle/8)
	}
	return max(tick, time.Millisecond)
}

// renew renews the leases that are at least age old. ok is false where Redis did not answer for all.
func (b *bucket) renew(age time.Duration) (ok bool) {
	ok = true
	for group := range slices.Chunk(b.leases.due(age), maxGroup) {
		ops := make([]scripts.Op, len(group))
		for i, e := range group {
			ops[i] = scripts.Renew(e.flight.key, e.attempt, e.token, e.webhook.Digest, e.inDoubt, e.failures)
		}
		held := newLease(b.LockTTL)
		reply, err := b.call(ops)
		if err != nil {
			return false
		}
		for i, e := range group {
			switch answer := reply.Answers[i]; answer.Verdict {
			case scripts.Renewed:
				b.leases.renewed(e, held)
			case scripts.Restored:
				b.leases.renewed(e, held)
				b.signals.raise()
			case scripts.Refused:
				switch r, err := record.Parse(answer.Record); {
				case err != nil || r.Token != e.token:
					b.lose(e, answer.Record)
				case r.Reason == record.Expired: // the verdict on it keeps everybody else away, as its lease did
					b.leases.renewed(e, held)
				} // else its own end came first
			case scripts.Error:
				ok = false // Redis refused to write: it may not be put back yet
			}
		}
	}
	return ok
}

// touch makes the call that is due when nothing else calls: counters; a probe where Redis is in trouble; and, while
// something runs here or may have to be put back, a heartbeat, since a proxy can hide a failover from our connection.
// Its reply has the history.
func (b *bucket) touch() {
	inTrouble := b.health.bad()
	flush := b.counters.take(b.MetricsFlush, inTrouble)
	quiet := time.Since(time.Unix(0, b.lastCall.Load()))
	beat := b.Settle > 0 && quiet >= b.Settle/4-b.tick() && (b.leases.count() > 0 || !b.journal.empty())
	if flush.Number > 0 || inTrouble || beat {
		_, _ = b.send(nil, flush) // send notes what Redis does
	}
}

// failAbandoned fails claims that were given up, once Redis answers.
func (b *bucket) failAbandoned() {
	for !b.health.bad() {
		claims := b.abandoned.take(maxGroup)
		if len(claims) == 0 {
			return
		}
		ops := make([]scripts.Op, len(claims))
		for i, c := range claims {
			ops[i] = scripts.Fail(c.key, 0, c.token, "unanswered", record.Digest{}, false, 0)
		}
		reply, err := b.call(ops)
		if err != nil {
			b.abandoned.add(claims...)
			return
		}
		for i, answer := range reply.Answers {
			if answer.Verdict == scripts.Error {
				b.abandoned.add(claims[i])
			}
		}
	}
}
