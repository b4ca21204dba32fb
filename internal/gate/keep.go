package gate

import (
	"context"
	"slices"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// probeEvery is how often a Redis that is away is asked whether it is back.
const probeEvery = 200 * time.Millisecond

// keep is the one goroutine that looks after all executions: it renews their leases at a third of LockTTL, keeps in
// touch with Redis, flushes counters, and heals when a signal of a loss comes. Each of its calls is bounded by
// RedisTimeout; that leases end in time does not depend on it (leases.add).
func (g *Gate) keep(ctx context.Context) {
	tick := time.NewTicker(g.tick())
	defer tick.Stop()
	healed := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.signals.poke:
			healed = g.heal()
		case <-tick.C:
			if healed {
				g.renew(g.LockTTL / 3)
			} else {
				healed = g.heal()
			}
		}
		g.touch()
		g.failAbandoned()
	}
}

// tick is short enough for whatever is due first.
func (g *Gate) tick() time.Duration {
	tick := min(g.LockTTL/12, g.MetricsFlush, probeEvery)
	if g.Settle > 0 {
		tick = min(tick, g.Settle/8)
	}
	return max(tick, time.Millisecond)
}

// renew renews the leases that are at least age old. ok is false where Redis did not answer for all.
func (g *Gate) renew(age time.Duration) (ok bool) {
	ok = true
	for group := range slices.Chunk(g.leases.due(age), maxGroup) {
		ops := make([]scripts.Op, len(group))
		for i, e := range group {
			ops[i] = scripts.Renew(e.flight.key, e.attempt, e.token, e.webhook.Digest)
		}
		held := newLease(g.LockTTL)
		reply, err := g.call(ops)
		if err != nil {
			return false
		}
		for i, e := range group {
			switch answer := reply.Answers[i]; answer.Verdict {
			case scripts.Renewed:
				g.leases.renewed(e, held)
			case scripts.Restored:
				g.leases.renewed(e, held)
				g.signals.raise()
			case scripts.Refused:
				if r, err := record.Parse(answer.Record); err != nil || r.Token != e.token {
					g.lose(e, answer.Record)
				} // else its own end came first
			case scripts.Error:
				ok = false // Redis refused to write: it may not be put back yet
			}
		}
	}
	return ok
}

// touch makes the call that is due when nothing else calls: counters; a probe where Redis is in trouble; and, while
// something runs here, a heartbeat, since a proxy can hide a failover from our connection. Its reply has the history.
func (g *Gate) touch() {
	inTrouble := g.health.bad()
	flush := g.counters.take(g.MetricsFlush, inTrouble)
	quiet := time.Since(time.Unix(0, g.lastCall.Load()))
	beat := g.Settle > 0 && quiet >= g.Settle/4-g.tick() && g.leases.count() > 0
	if flush.Number > 0 || inTrouble || beat {
		_, _ = g.send(nil, flush) // send notes what Redis does
	}
}

// failAbandoned fails claims that were given up, once Redis answers.
func (g *Gate) failAbandoned() {
	for !g.health.bad() {
		claims := g.abandoned.take(maxGroup, time.Now())
		if len(claims) == 0 {
			return
		}
		ops := make([]scripts.Op, len(claims))
		for i, c := range claims {
			ops[i] = scripts.Fail(c.key, 0, c.token, "unanswered")
		}
		reply, err := g.call(ops)
		if err != nil {
			g.abandoned.add(claims...)
			return
		}
		for i, answer := range reply.Answers {
			if answer.Verdict == scripts.Error {
				g.abandoned.add(claims[i])
			}
		}
	}
}
