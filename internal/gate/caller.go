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
	wake  chan struct{} // something that may concern it has happened; holds one
	timer *time.Timer   // of its own goroutine

	waiting
}

// waiting is what a caller is for one request.
type waiting struct {
	// Fixed until it has left.
	webhook  Request
	deadline time.Time // it is answered by then

	// The flight's lock guards these.
	enough   time.Time // its own Wait is over then; zero: that has not begun
	told     Outcome   // what it was answered, while the claim for it was under way
	executes bool      // a claim won for it: it is counted as an execution, once and for all
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

// free lets a caller be used again. No flight may have it any more.
func (c *caller) free() {
	c.timer.Stop()
	select {
	case <-c.wake:
	default:
	}
	c.waiting = waiting{}
	callers.Put(c)
}

// do joins the flight of a webhook's fingerprint, and waits until the flight has landed or its caller must be answered
// earlier. The flight goes on without the caller.
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
			} // else the flight still has it
			return answer
		}
	}
}

// looksAgain is when a caller looks again if nothing wakes it.
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

// askedBy looks whether a caller is to be answered now. over: its flight has landed, and does not know it any more.
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

// leaves reports whether a caller is to be answered, and with what if the flight has not landed. The lock is held.
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
		return Unavailable, true // while no claim has been answered nobody knows of an execution
	case f.differs(c):
		return Mismatched, true
	}
	if c.webhook.Wait == nil {
		return 0, false
	}
	if f.isRunning(now) && c.enough.IsZero() {
		c.enough = now.Add(*c.webhook.Wait)
	}
	// If its Wait is over and nothing runs by the latest answer, only the claim's answer is missing.
	return Processing, !c.enough.IsZero() && !now.Before(c.enough) && f.isRunning(now)
}

// isRunning reports whether an execution runs by the answer to the latest claim. The lock is held.
func (f *flight) isRunning(now time.Time) bool {
	return f.runs && (f.runsUntil.IsZero() || !now.After(f.runsUntil))
}

// tell wakes the callers that something concerns. The lock is held.
func (f *flight) tell(concerns func(*caller) bool) {
	for _, c := range f.callers {
		if concerns(c) {
			c.notify()
		}
	}
}

// notify wakes a caller, which looks what has happened. One that has left may have been given to another request: that
// one looks for nothing.
func (c *caller) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// stays reports whether a caller still waits.
func (c *caller) stays() bool { return !c.departed }

// leave answers a caller and counts it. If the flight has not landed, the caller is told what early says. The lock is
// held.
func (b *bucket) leave(f *flight, c *caller, early Outcome, now time.Time) Answer {
	c.departed = true
	if !f.over {
		// The answer to the claim under way decides what its leader is counted as (take, in claiming.go).
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

// answer is a done record's; differs: its body was another one.
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

// remarkMismatch says once in the log that a fingerprint has come with several bodies.
func (b *bucket) remarkMismatch(w *Request, attempt int64) {
	if b.gate.remarked.first(w.Fingerprint) {
		b.logOf(w, attempt).Warn("another body came with the same identity: it does not tell two webhooks apart, or a " +
			"caller changed one")
	}
}

// drop forgets the callers that have departed, once they are more than those that wait: logic that runs for hours must
// not gather all that it kept waiting. The lock is held.
func (f *flight) drop() {
	if f.departed++; f.departed > len(f.callers)/2 {
		f.callers = slices.DeleteFunc(f.callers, func(c *caller) bool { return c.departed })
		f.departed = 0
	}
}

// count counts one of a kind for its tenant.
func (b *bucket) count(t *Tenant, k link.Kind) { t.use.tallies[b.index].Add(k) }

// countCaller counts a caller as what it became. It has no flight if it could not join one.
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

// setDigest notes whose body is executed. The lock is held.
func (f *flight) setDigest(digest record.Digest) {
	f.digest, f.digestKnown = digest, true
}

// differs reports whether a caller is refused because it has another body than the one that is executed. Nothing is
// claimed for it any more. While a claim for it is under way that is not decided. The lock is held.
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
