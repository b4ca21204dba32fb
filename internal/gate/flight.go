package gate

import (
	"slices"
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

// flight is what this process does for one fingerprint at a time: claim, then execute or wait. It belongs to the gate;
// the callers that joined it come and go.
type flight struct {
	fingerprint fingerprint.Fingerprint
	key         string
	wake        chan struct{} // holds one: the record has changed, or may have
	done        chan struct{} // closed when it has landed

	mu        sync.Mutex
	callers   []*caller     // who waits here, in the order they came; of those who left, some are still in it
	left      int           // how many of them left
	candidate *caller       // for whom a claim is under way
	decided   chan struct{} // closed when that claim is answered
	runs      chan struct{} // closed by a claim's answer that an execution runs; a new one for the next claim
	until     time.Time     // then that answer is over: the lease of another replica; zero: it runs here
	known     bool          // the fingerprint was claimed: who joins now is a duplicate
	attempt   int64         // of the execution that it runs or waits for; 0: not known
	executing record.Digest // of the body that is executed, once named is closed
	named     chan struct{}
	first     record.Digest // of the body that began it
	mixed     bool          // another body has joined it
	stalled   chan struct{}
	landing   landing // set before done is closed
}

// caller is one request that waits for a flight. The flight's lock guards it.
type caller struct {
	webhook  Webhook
	stalled  <-chan struct{} // closed while an execution that has ended can't be stored for want of Redis
	runs     <-chan struct{} // the flight's when it joined
	told     Outcome         // what it was answered, where the claim for it was under way
	executes bool            // a claim won for it: it is counted as an execution, once and for all
	scripted bool            // the script has counted it as a replay
	gone     bool
}

// landing is how a flight ended: Executed by itself, Replayed or Waited for with the record found, Processing where a
// person had it forgotten, or Failed, Refused, Unavailable, Foreign, Unreadable.
type landing struct {
	outcome Outcome
	attempt int64
	record  record.Record
	after   time.Duration // Failed, Refused: how long to wait before asking again; 0 where that is not known
}

// flights are those in the air.
type flights struct {
	mu     sync.Mutex // taken before a flight's own
	byName map[fingerprint.Fingerprint]*flight
	closed bool
}

// do is Do, in the webhook's bucket.
func (b *bucket) do(w Webhook) Answer {
	defer b.waiting.Add(-1)
	if b.waiting.Add(1) > int64(b.MaxWaiters) && b.MaxWaiters > 0 {
		b.counters.add(overloaded)
		return Answer{Outcome: Overloaded}
	}
	c := &caller{webhook: w}
	f, refusal := b.join(c)
	if f == nil {
		b.count(nil, c, refusal)
		return Answer{Outcome: refusal}
	}
	defer b.running.Done()
	timer := time.NewTimer(b.WaitTimeout - time.Since(w.Arrived))
	defer timer.Stop()
	var runs <-chan struct{}
	var enough <-chan time.Time // its own Wait is over
	if w.Wait != nil {
		runs = c.runs
	}
	named := f.named
	if !b.RejectMismatch {
		named = nil
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
		case <-named:
			differs, undecided := b.differs(f, c)
			if differs {
				return b.leave(f, c, Mismatched)
			}
			named = undecided
		}
	}
}

// late is what a caller is told after WaitTimeout. While no claim has been answered nobody knows of an execution.
func (f *flight) late() Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known {
		return Processing
	}
	return Unavailable
}

// unanswered returns nil while an execution runs by the answer of the latest claim. Otherwise it returns what is closed
// when a claim is answered so.
func (f *flight) unanswered() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.until.IsZero() && time.Now().After(f.until) {
		f.claims()
	}
	select {
	case <-f.runs:
		return nil
	default:
		return f.runs
	}
}

// claims notes that only the next claim can tell whether an execution runs. The lock is held.
func (f *flight) claims() {
	select {
	case <-f.runs:
		f.runs = make(chan struct{})
	default:
	}
}

// join makes c wait for the flight of its webhook, and begins one where there is none. It returns nil and the reason
// where the gate is closing, or where half of all who may wait do so for this one fingerprint: callers who hung up keep
// their places, so that aborted requests of one webhook would lock all others out.
func (b *bucket) join(c *caller) (f *flight, refusal Outcome) {
	b.flights.mu.Lock()
	defer b.flights.mu.Unlock()
	name := c.webhook.Fingerprint
	f = b.flights.byName[name]
	if f == nil {
		if b.flights.closed {
			return nil, Unavailable
		}
		f = &flight{
			fingerprint: name, key: b.keys.Record(name), first: c.webhook.Digest,
			wake: make(chan struct{}, 1), done: make(chan struct{}), named: make(chan struct{}), runs: make(chan struct{}),
			stalled: make(chan struct{}),
		}
		b.flights.byName[name] = f
		b.running.Go(func() { b.fly(f, true) })
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if waiting := len(f.callers) - f.left; b.MaxWaiters > 0 && waiting >= max(b.MaxWaiters/2, 1) {
		return nil, Overloaded
	}
	c.stalled, c.runs = f.stalled, f.runs
	b.running.Add(1) // until it is counted
	f.callers = append(f.callers, c)
	f.mixed = f.mixed || c.webhook.Digest != f.first
	return f, 0
}

// nominate chooses for whom the flight claims next, and whose webhook is executed: the one who has waited longest. Where
// nobody waits any more the flight is over.
func (b *bucket) nominate(f *flight) (w Webhook, ok bool) {
	b.flights.mu.Lock()
	defer b.flights.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	waits := slices.IndexFunc(f.callers, func(c *caller) bool { return !c.gone })
	if waits < 0 {
		delete(b.flights.byName, f.fingerprint)
		return w, false
	}
	f.candidate, f.decided = f.callers[waits], make(chan struct{})
	f.claims()
	w = f.candidate.webhook
	w.execute, w.identity = w.Take() // its caller, who leaves under this lock, is still there
	return w, true
}

// land ends a flight: all its callers get what it found, and who comes later begins anew.
func (b *bucket) land(f *flight, l landing) {
	b.flights.mu.Lock()
	delete(b.flights.byName, f.fingerprint)
	b.flights.mu.Unlock()
	f.mu.Lock()
	f.landing = l
	f.callers = nil
	close(f.done)
	f.mu.Unlock()
}

// leave answers and counts a caller. Where the flight has not landed, early says what the caller is told instead.
func (b *bucket) leave(f *flight, c *caller, early Outcome) Answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.gone = true
	select {
	case <-f.done:
	default:
		// The answer to the claim under way decides what a candidate is counted as (claim, in claim.go).
		if c.told = early; c != f.candidate {
			b.count(f, c, early)
		}
		if early == Mismatched {
			b.counters.add(mismatch)
		}
		f.drop()
		return Answer{Outcome: early, Attempt: f.attempt, Mismatch: b.mismatches(f, c)}
	}
	l := f.landing
	outcome := l.outcome
	if outcome == Executed && !c.executes {
		outcome = Waited
	}
	b.count(f, c, outcome)
	if l.record.State == record.Done {
		return b.answer(f.fingerprint, outcome, &l.record, !b.sameBody(l.record.Digest, c.webhook.Digest))
	}
	return Answer{Outcome: outcome, Attempt: l.attempt, RetryAfter: l.after, Mismatch: b.mismatches(f, c)}
}

// answer is a done record's; differs: its body was another one.
func (b *bucket) answer(name fingerprint.Fingerprint, outcome Outcome, r *record.Record, differs bool) Answer {
	if differs {
		b.counters.add(mismatch)
		b.remarkMismatch(name)
		if b.RejectMismatch {
			return Answer{Outcome: Mismatched, Attempt: r.Attempt, Mismatch: true}
		}
	}
	return Answer{Outcome: outcome, Attempt: r.Attempt, Result: r.Result, Age: b.age(r), Mismatch: differs}
}

// mismatches reports whether a caller has another body than the one that is, or was, executed, as far as that is known.
// The flight's lock is held.
func (b *bucket) mismatches(f *flight, c *caller) bool {
	select {
	case <-f.named:
	default:
		return false
	}
	if b.sameBody(f.executing, c.webhook.Digest) {
		return false
	}
	b.remarkMismatch(f.fingerprint)
	return true
}

// remarkMismatch says once in the log that a fingerprint has come with several bodies.
func (b *bucket) remarkMismatch(name fingerprint.Fingerprint) {
	if b.remarked.first(name) {
		b.Log.Warn("another body came with the same dialogId, nodeId and sequence: they do not tell two webhooks apart, "+
			"or a caller changed one", "fingerprint", name)
	}
}

// drop forgets the callers who left, once they are more than those who wait: logic that runs for hours must not gather
// all whom it kept waiting. The lock is held.
func (f *flight) drop() {
	if f.left++; f.left > len(f.callers)/2 {
		f.callers = slices.DeleteFunc(f.callers, func(c *caller) bool { return c.gone })
		f.left = 0
	}
}

// count counts a caller as what it became. It has no flight where it could not join one.
func (b *bucket) count(f *flight, c *caller, outcome Outcome) {
	switch {
	case c.executes:
		b.counters.add(executed)
		if outcome == Processing || outcome == Unavailable {
			b.counters.add(lateAnswer)
		}
	case c.scripted && (outcome == Unreadable || outcome == Foreign):
		b.counters.add(unopened)
	case c.scripted:
		b.counters.add(replayedByScript)
	case outcome == Replayed:
		b.counters.add(replayed)
	case outcome == Waited || outcome == Failed:
		b.counters.add(waited)
	case outcome == Processing || f != nil && f.known:
		b.counters.add(stillProcessing)
	case outcome == Refused:
		b.counters.add(refused)
	case outcome == Overloaded:
		b.counters.add(overloaded)
	case outcome == Poisoned:
		b.counters.add(poisoned)
	case outcome == Doubtful:
		b.counters.add(doubtful)
	default:
		b.counters.add(unavailable)
	}
}

// age is how long ago a result was stored.
func (b *bucket) age(r *record.Record) time.Duration { return max(b.redisNow().Sub(r.Stored), 0) }

// pause sleeps until the flight's record may have changed (true), d is over, or the gate closes.
func (b *bucket) pause(f *flight, d time.Duration) (woken bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-f.wake:
		return true
	case <-timer.C:
	case <-b.life.Done():
	}
	return false
}

// follow notes which attempt the flight waits for.
func (f *flight) follow(attempt int64, executing record.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempt = attempt
	f.name(executing)
}

// name notes whose body is executed. The lock is held.
func (f *flight) name(executing record.Digest) {
	f.executing = executing
	select {
	case <-f.named:
	default:
		close(f.named)
	}
}

// differs reports whether a caller has another body than the one that is executed; then it is gone, and nothing is
// claimed for it any more. While a claim for it is under way that is not decided: the channel closes when it is.
func (b *bucket) differs(f *flight, c *caller) (differs bool, undecided chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c == f.candidate {
		return false, f.decided
	}
	c.gone = !b.sameBody(f.executing, c.webhook.Digest)
	return c.gone, nil
}

func (f *flight) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// rouse wakes the flight of a fingerprint.
func (s *flights) rouse(name fingerprint.Fingerprint) {
	s.mu.Lock()
	f := s.byName[name]
	s.mu.Unlock()
	if f != nil {
		f.rouse()
	}
}

func (s *flights) rouseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.byName {
		f.rouse()
	}
}

// close lets nobody begin a flight any more; who joins one that is in the air still gets its outcome.
func (s *flights) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
