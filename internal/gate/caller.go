package gate

import (
	"slices"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

// caller is one request that waits for a flight. The flight's lock guards it.
type caller struct {
	webhook  Request
	stalled  <-chan struct{} // closed while an execution that has ended cannot be stored, because Redis is away
	runs     <-chan struct{} // the flight's when it joined
	told     Outcome         // what it was answered, while the claim for it was under way
	executes bool            // a claim won for it: it is counted as an execution, once and for all
	scripted bool            // the script has counted it as a replay
	departed bool
}

// do joins the flight of a webhook's fingerprint, and waits until the flight has landed or its caller must be answered
// earlier. The flight goes on without the caller.
func (b *bucket) do(w Request) Answer {
	defer b.gate.waiting.Add(-1)
	if b.gate.waiting.Add(1) > int64(b.gate.options.MaxWaiters) && b.gate.options.MaxWaiters > 0 {
		b.link.Counters.Add(link.Overloaded)
		return Answer{Outcome: Overloaded}
	}
	c := &caller{webhook: w}
	f, refusal := b.flights.join(b, c)
	if f == nil {
		b.countCaller(nil, c, refusal)
		return Answer{Outcome: refusal}
	}
	defer b.gate.running.Done()
	timer := time.NewTimer(b.gate.options.WaitTimeout - time.Since(w.Arrived))
	defer timer.Stop()
	var runs <-chan struct{}
	var enough <-chan time.Time // its own Wait is over
	if w.Wait != nil {
		runs = c.runs
	}
	known := f.digestKnown
	if !b.gate.options.RejectMismatch {
		known = nil
	}
	for {
		select {
		case <-f.done:
			return b.leave(f, c, Executed)
		case <-c.stalled:
			return b.leave(f, c, Unavailable)
		case <-timer.C:
			return b.leave(f, c, f.late())
		case <-runs:
			runs, enough = nil, time.After(*w.Wait)
		case <-enough:
			if runs = f.unanswered(); runs == nil {
				return b.leave(f, c, Processing)
			}
			w.Wait = new(time.Duration) // it is over: only the claim's answer is missing
		case <-known:
			differs, undecided := f.differs(c)
			if differs {
				return b.leave(f, c, Mismatched)
			}
			known = undecided
		}
	}
}

// late is what a caller is told after WaitTimeout. While no claim has been answered nobody knows of an execution.
func (f *flight) late() Outcome {
	if f.isKnown() {
		return Processing
	}
	return Unavailable
}

// unanswered returns nil while an execution runs by the answer of the latest claim. Otherwise it returns what is closed
// when a claim is answered so.
func (f *flight) unanswered() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.runsUntil.IsZero() && time.Now().After(f.runsUntil) {
		f.awaitAnswer()
	}
	select {
	case <-f.runs:
		return nil
	default:
		return f.runs
	}
}

// awaitAnswer notes that only the next claim can tell whether an execution runs. The lock is held.
func (f *flight) awaitAnswer() {
	select {
	case <-f.runs:
		f.runs = make(chan struct{})
	default:
	}
}

// leave answers a caller and counts it. If the flight has not landed, the caller is told what early says.
func (b *bucket) leave(f *flight, c *caller, early Outcome) Answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.departed = true
	select {
	case <-f.done:
	default:
		// The answer to the claim under way decides what its leader is counted as (take, in claiming.go).
		if c.told = early; c != f.leader {
			b.countCaller(f, c, early)
		}
		if early == Mismatched {
			b.link.Counters.Add(link.Mismatch)
		}
		f.drop()
		return Answer{Outcome: early, Attempt: f.attempt, Mismatch: b.mismatches(f, c)}
	}
	l := f.landing
	outcome := l.outcome
	if outcome == Executed && !c.executes {
		outcome = Waited
	}
	b.countCaller(f, c, outcome)
	if l.record.State == record.Done {
		return b.answer(f.fingerprint, outcome, &l.record, !b.gate.sameBody(l.record.Digest, c.webhook.Digest))
	}
	return Answer{Outcome: outcome, Attempt: l.attempt, RetryAfter: l.after, Mismatch: b.mismatches(f, c)}
}

// answer is a done record's; differs: its body was another one.
func (b *bucket) answer(of fingerprint.Fingerprint, outcome Outcome, r *record.Record, differs bool) Answer {
	if differs {
		b.link.Counters.Add(link.Mismatch)
		b.remarkMismatch(of)
		if b.gate.options.RejectMismatch {
			return Answer{Outcome: Mismatched, Attempt: r.Attempt, Mismatch: true}
		}
	}
	return Answer{Outcome: outcome, Attempt: r.Attempt, Result: r.Result, Age: b.age(r), Mismatch: differs}
}

// mismatches reports whether a caller has another body than the one that is, or was, executed, as far as that is known.
// The flight's lock is held.
func (b *bucket) mismatches(f *flight, c *caller) bool {
	select {
	case <-f.digestKnown:
	default:
		return false
	}
	if b.gate.sameBody(f.digest, c.webhook.Digest) {
		return false
	}
	b.remarkMismatch(f.fingerprint)
	return true
}

// remarkMismatch says once in the log that a fingerprint has come with several bodies.
func (b *bucket) remarkMismatch(of fingerprint.Fingerprint) {
	if b.gate.remarked.first(of) {
		b.log.Warn("another body came with the same dialogId, nodeId and sequence: they do not tell two webhooks apart, "+
			"or a caller changed one", "fingerprint", of)
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

// countCaller counts a caller as what it became. It has no flight if it could not join one.
func (b *bucket) countCaller(f *flight, c *caller, outcome Outcome) {
	switch {
	case c.executes:
		b.link.Counters.Add(link.Executed)
		if outcome == Processing || outcome == Unavailable {
			b.link.Counters.Add(link.LateAnswer)
		}
	case c.scripted && (outcome == Unreadable || outcome == Foreign):
		b.link.Counters.Add(link.Unopened)
	case c.scripted:
		b.link.Counters.Add(link.ReplayedByScript)
	case outcome == Replayed:
		b.link.Counters.Add(link.Replayed)
	case outcome == Waited || outcome == Failed:
		b.link.Counters.Add(link.Waited)
	case outcome == Processing || f != nil && f.known:
		b.link.Counters.Add(link.StillProcessing)
	case outcome == Refused:
		b.link.Counters.Add(link.Refused)
	case outcome == Overloaded:
		b.link.Counters.Add(link.Overloaded)
	case outcome == Poisoned:
		b.link.Counters.Add(link.Poisoned)
	case outcome == Doubtful:
		b.link.Counters.Add(link.Doubtful)
	default:
		b.link.Counters.Add(link.Unavailable)
	}
}

// age is how long ago a result was stored.
func (b *bucket) age(r *record.Record) time.Duration { return max(b.link.Now().Sub(r.Stored), 0) }

// setDigest notes whose body is executed. The lock is held.
func (f *flight) setDigest(digest record.Digest) {
	f.digest = digest
	select {
	case <-f.digestKnown:
	default:
		close(f.digestKnown)
	}
}

// differs reports whether a caller has another body than the one that is executed; then it is gone, and nothing is
// claimed for it any more. While a claim for it is under way that is not decided: the channel closes when it is.
func (f *flight) differs(c *caller) (differs bool, undecided chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c == f.leader {
		return false, f.answered
	}
	c.departed = !f.bucket.gate.sameBody(f.digest, c.webhook.Digest)
	return c.departed, nil
}

// isKnown reports whether the fingerprint was claimed.
func (f *flight) isKnown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}
