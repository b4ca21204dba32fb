package gate

import (
	"slices"
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

// caller is one request that waits for a flight.
type caller struct {
	// Fixed at construction, and kept for the next request.
	wake  chan struct{} // an event that may concern it has happened; holds one
	timer *time.Timer   // of its own goroutine

	waiting
}

// waiting is the part of a caller that belongs to one request.
type waiting struct {
	// Fixed until the caller has left.
	webhook  Request
	deadline time.Time // it is answered by then

	// The flight's lock guards these.
	enough   time.Time // its own Wait ends then; zero: that has not begun to count
	told     Outcome   // the answer it got while the claim for it was under way
	executes bool      // a claim won for it: it is counted as an execution and nothing else
	scripted bool      // the script has counted it as a replay
	departed bool
}

var callers = sync.Pool{New: func() any {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &caller{wake: make(chan struct{}, 1), timer: timer}
}}

func newCaller(w Request, wait time.Duration) *caller {
	c, _ := callers.Get().(*caller) // nothing else is in the pool
	c.webhook, c.deadline = w, w.Arrived.Add(wait)
	return c
}

// free lets a caller be used again. No flight may hold it any more.
func (c *caller) free() {
	c.timer.Stop()
	select {
	case <-c.wake:
	default:
	}
	c.waiting = waiting{}
	callers.Put(c)
}

// do joins the flight of a webhook's fingerprint and waits until the flight has landed, or until the caller must be
// answered earlier. The flight goes on without the caller.
func (b *bucket) do(w Request) Answer {
	t := w.Tenant
	defer t.use.waiting.Add(-1)
	if t.use.waiting.Add(1) > int64(t.MaxWaiters) && t.MaxWaiters > 0 {
		b.count(t, link.Overloaded)
		return Answer{Outcome: Overloaded}
	}
	c := newCaller(w, t.WaitTimeout)
	f, refusal := b.flights.join(b, c)
	if f == nil {
		b.countCaller(nil, c, refusal)
		c.free()
		return Answer{Outcome: refusal}
	}
	defer b.gate.running.Done()
	for {
		c.timer.Reset(time.Until(f.looksAgain(c)))
		select {
		case <-c.wake:
		case <-c.timer.C:
		}
		if answer, over, leaves := b.askedBy(f, c); leaves {
			if over {
				c.free()
			} // otherwise the flight still holds it
			return answer
		}
	}
}

// looksAgain returns when a caller looks again if nothing wakes it.
func (f *flight) looksAgain(c *caller) time.Time {
	if c.webhook.Wait == nil {
		return c.deadline
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.enough.IsZero() || !c.enough.After(time.Now()) || c.enough.After(c.deadline) {
		return c.deadline
	}
	return c.enough
}

// askedBy checks whether a caller is to be answered now. over: its flight has landed, and does not hold it any more.
func (b *bucket) askedBy(f *flight, c *caller) (answer Answer, over, leaves bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	early, leaves := f.leaves(c, now)
	if !leaves {
		return answer, false, false
	}
	return b.leave(f, c, early, now), f.over, true
}

// leaves reports whether a caller is to be answered, and with which outcome if the flight has not landed. The lock is
// held.
func (f *flight) leaves(c *caller, now time.Time) (early Outcome, leaves bool) {
	switch {
	case f.over:
		return 0, true
	case f.stalled:
		return Unavailable, true
	case !now.Before(c.deadline):
		if f.known {
			return Processing, true
		}
		return Unavailable, true // no claim has been answered, so nobody knows of an execution
	case f.differs(c):
		return Mismatched, true
	}
	if c.webhook.Wait == nil {
		return 0, false
	}
	if f.isRunning(now) && c.enough.IsZero() {
		c.enough = now.Add(*c.webhook.Wait)
	}
	// If its Wait is over, and the latest answer says that nothing runs any more, it waits for the next claim's answer.
	return Processing, !c.enough.IsZero() && !now.Before(c.enough) && f.isRunning(now)
}

// isRunning reports whether an execution runs by the answer to the latest claim. The lock is held.
func (f *flight) isRunning(now time.Time) bool {
	return f.runs && (f.runsUntil.IsZero() || !now.After(f.runsUntil))
}

// tell wakes the callers that an event concerns. The lock is held.
func (f *flight) tell(concerns func(*caller) bool) {
	for _, c := range f.callers {
		if concerns(c) {
			c.notify()
		}
	}
}

// notify wakes a caller, which then looks for what has happened. A caller that has left may belong to another request
// by now: that request then looks once in vain.
func (c *caller) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// stays reports whether a caller still waits.
func (c *caller) stays() bool { return !c.departed }

// leave answers a caller and counts it. If the flight has not landed, the caller gets the outcome early. The lock is
// held.
func (b *bucket) leave(f *flight, c *caller, early Outcome, now time.Time) Answer {
	c.departed = true
	if !f.over {
		// If a claim for this caller is under way, the claim's answer decides how the caller is counted (take, in
		// claiming.go).
		if c.told = early; c != f.leader {
			b.countCaller(f, c, early)
		}
		if early == Mismatched {
			b.count(c.webhook.Tenant, link.Mismatch)
		}
		f.drop()
		return Answer{Outcome: early, Attempt: f.attempt, Mismatch: b.mismatches(f, c)}
	}
	l := &f.landing
	outcome := l.outcome
	if outcome == Executed && !c.executes {
		outcome = Waited
	}
	b.countCaller(f, c, outcome)
	if l.record != nil {
		differs := !c.webhook.Tenant.sameBody(l.record.Digest, c.webhook.Digest)
		return b.answer(&c.webhook, outcome, l.record, differs, now)
	}
	return Answer{Outcome: outcome, Attempt: l.attempt, RetryAfter: l.after, Mismatch: b.mismatches(f, c)}
}

// answer makes the answer of a done record; differs: the caller's body is not the one that was executed.
func (b *bucket) answer(w *Request, outcome Outcome, r *record.Record, differs bool, now time.Time) Answer {
	if differs {
		b.count(w.Tenant, link.Mismatch)
		b.remarkMismatch(w, r.Attempt)
		if w.Tenant.RejectMismatch {
			return Answer{Outcome: Mismatched, Attempt: r.Attempt, Mismatch: true}
		}
	}
	age := max(b.link.At(now).Sub(r.Stored), 0)
	return Answer{Outcome: outcome, Attempt: r.Attempt, Result: r.Result, Age: age, Mismatch: differs}
}

// mismatches reports whether a caller has another body than the one that is, or was, executed, as far as that is known.
// The flight's lock is held.
func (b *bucket) mismatches(f *flight, c *caller) bool {
	if !f.digestKnown || c.webhook.Tenant.sameBody(f.digest, c.webhook.Digest) {
		return false
	}
	b.remarkMismatch(&c.webhook, f.attempt)
	return true
}

// remarkMismatch says once in the log that a fingerprint came with several bodies.
func (b *bucket) remarkMismatch(w *Request, attempt int64) {
	if b.gate.remarked.first(w.Fingerprint) {
		b.logOf(w, attempt).Warn("another body came with the same identity: it does not tell two webhooks apart, or a " +
			"caller changed one")
	}
}

// drop removes the callers that have departed, once they are more than those that wait: if logic runs for hours, its
// flight must not gather all callers that have waited for it. The lock is held.
func (f *flight) drop() {
	if f.departed++; f.departed > len(f.callers)/2 {
		f.callers = slices.DeleteFunc(f.callers, func(c *caller) bool { return c.departed })
		f.departed = 0
	}
}

// count counts one request for its tenant.
func (b *bucket) count(t *Tenant, k link.Kind) { t.use.tallies[b.index].Add(k) }

// countCaller counts a caller by its outcome. f is nil if it could not join a flight.
func (b *bucket) countCaller(f *flight, c *caller, outcome Outcome) {
	t := c.webhook.Tenant
	switch {
	case c.executes:
		b.count(t, link.Executed)
		if outcome == Processing || outcome == Unavailable {
			b.count(t, link.LateAnswer)
		}
	case c.scripted && (outcome == Unreadable || outcome == Foreign):
		b.count(t, link.Unopened)
	case c.scripted:
		b.gate.hot.Hit(&f.hot)
		b.count(t, link.ReplayedByScript)
	case outcome == Replayed:
		b.gate.hot.Hit(&f.hot)
		b.count(t, link.Replayed)
	case outcome == Waited || outcome == Failed:
		b.gate.hot.Hit(&f.hot)
		b.count(t, link.Waited)
	case outcome == Processing || f != nil && f.known:
		b.gate.hot.Hit(&f.hot)
		b.count(t, link.StillProcessing)
	case outcome == Refused:
		b.count(t, link.Refused)
	case outcome == Overloaded:
		b.count(t, link.Overloaded)
	case outcome == Limited:
		b.count(t, link.Limited)
	case outcome == Poisoned:
		b.count(t, link.Poisoned)
	case outcome == Doubtful:
		b.count(t, link.Doubtful)
	default:
		b.count(t, link.Unavailable)
	}
}

// setDigest notes the digest of the body that is executed. The lock is held.
func (f *flight) setDigest(digest record.Digest) {
	f.digest, f.digestKnown = digest, true
}

// differs reports whether a caller is refused because another body than its own is executed. Nothing is claimed for
// such a caller any more. While a claim for it is under way, this is not decided. The lock is held.
func (f *flight) differs(c *caller) bool {
	t := c.webhook.Tenant
	if !t.RejectMismatch || !f.digestKnown || c == f.leader {
		return false
	}
	c.departed = c.departed || !t.sameBody(f.digest, c.webhook.Digest)
	return c.departed
}

// isKnown reports whether the fingerprint was claimed.
func (f *flight) isKnown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}
