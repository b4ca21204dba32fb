package gate

import (
	"fmt"
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/backoff"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/hot"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/span"
)

// A flight goes through phases. One goroutine at a time drives it, and only that driver moves it on. The driver also
// runs the logic. If the lease is lost while the logic runs, the keeper hands the flight to another driver (leaseLost),
// and the first one stays with the execution (seeOff):
//
//	from      | to        | when
//	claiming  | claiming  | what Redis said is outdated, or the leader has another body than the one in doubt
//	claiming  | watching  | another replica executes
//	claiming  | settling  | Redis settles: nothing new is decided yet
//	claiming  | executing | the claim was won
//	claiming  | landed    | an outcome stands in Redis, nothing may be executed, nobody waits, or Redis does not answer
//	watching  | watching  | the record has changed
//	watching  | claiming  | only a claim can tell what is to be done
//	watching  | landed    | the outcome came through the client-side cache
//	settling  | claiming  | the time that Redis named is over
//	executing | storing   | the logic has returned, or the lease was lost before it began
//	executing | claiming  | the lease was lost: another attempt stands in Redis (the keeper's new driver)
//	executing | landed    | the lease was lost, because a person had the webhook forgotten (the same)
//	storing   | storing   | Redis has not said yet that it has the end
//	storing   | claiming  | the lease was lost, or the end was refused: another attempt stands
//	storing   | landed    | Redis has the end, and the journal has it too; or the gate closes
//
// A test holds this table against the code (TestThePhasesAreThoseOfTheTable).
type phase uint8

const (
	claiming phase = iota
	watching
	settling
	executing
	storing
	landed
	handedOver // not a phase: another driver has the flight
)

// steps has the driver's work in each phase. A step returns the next phase.
var steps = [...]func(*flight) phase{
	claiming:  (*flight).claim,
	watching:  (*flight).watch,
	settling:  (*flight).settle,
	executing: (*flight).execute,
	storing:   (*flight).store,
}

// flight is what this process does for one fingerprint at a time. It belongs to its bucket and not to a connection:
// callers join it and leave it.
type flight struct {
	// Fixed at construction.
	bucket      *bucket
	fingerprint fingerprint.Fingerprint
	key         string
	first       record.Digest // of the body of the request that began it
	hot         hot.Entry     // counts its duplicates

	// These belong to the driver.
	phase     phase
	tenant    *Tenant      // the leader's
	span      span.Request // the same
	token     string
	looked    bool            // a claim has been answered: the next one is no first look
	left      time.Duration   // settling: how long; watching: what was left of the other lease
	leaseEnds time.Time       // watching: when that lease ends, as far as is known
	asksAgain time.Time       // watching: when it claims in any case
	mark      uint64          // of the bucket's forgets, taken before the latest claim or store
	execution *execution      // executing, storing
	pauses    backoff.Backoff // storing

	mu sync.Mutex // guards what follows

	callers     []*caller     // in order of arrival; may still hold callers that have departed
	one         [1]*caller    // the memory of callers, if there is only one
	departed    int           // how many of callers have departed
	came, told  int           // callers that have joined, and how many of them the trail's events have counted
	leader      *caller       // the caller that the claim under way is made for
	runs        bool          // an execution runs, by the answer to the latest claim
	runsUntil   time.Time     // when another replica's lease is over, as far as is known; zero: the execution runs here
	known       bool          // the fingerprint was claimed: a request that joins now is a duplicate
	attempt     int64         // of the execution that it runs or waits for; 0: not known
	digest      record.Digest // of the body that is executed, if digestKnown
	digestKnown bool
	mixed       bool          // a request with another body than the first has joined
	stalled     bool          // an execution has ended and cannot be stored
	over        bool          // it has landed
	landing     landing       // set once over is true
	wake        chan struct{} // wakes a driver that waits; the first one that waits makes it; holds one
}

func newFlight(b *bucket, w *Request) *flight {
	var onStack [192]byte
	key := b.link.Keys.AppendRecord(onStack[:0], w.Tenant.Name, w.Fingerprint)
	names := string(b.gate.tokens.append(key)) // one piece of memory holds both
	made := &flight{
		bucket: b, fingerprint: w.Fingerprint, tenant: w.Tenant, first: w.Digest, pauses: link.Pauses(),
		hot: hot.Entry{Fingerprint: w.Fingerprint, Tenant: w.Tenant.Name},
		key: names[:len(key)], token: names[len(key):],
	}
	made.callers = made.one[:0]
	return made
}

// drive moves the flight on until it has landed, or until another driver has it.
func (f *flight) drive() {
	for f.step() {
	}
}

// step takes the flight to its next phase. It returns false if there is no further step for this driver, which must not
// touch the flight any more.
func (f *flight) step() bool {
	next := steps[f.phase](f)
	if next == handedOver {
		return false
	}
	f.phase = next
	return next != landed
}

// landing is how a flight ended:
//   - Executed by itself;
//   - Replayed or Waited, with the record that was found (its result opened);
//   - Processing, if a person had the webhook forgotten;
//   - or an outcome without a record.
type landing struct {
	outcome Outcome
	attempt int64
	record  *record.Record // must not be changed; nil: none
	after   time.Duration  // Failed, Refused: how long to wait before asking again; 0: not known
}

// land ends the flight: all its callers get its outcome, and the next request begins a new flight.
func (f *flight) land(l landing) phase {
	f.bucket.flights.remove(f)
	f.mu.Lock()
	f.landing, f.over = l, true
	f.leaveUntold()
	callers := f.callers
	f.callers = nil
	f.mu.Unlock() // unlocked first, because a caller that is woken takes the lock
	for _, c := range callers {
		c.notify()
	}
	return landed
}

// landOn lands on the record in Redis: a result, a verdict, or that a person had the webhook forgotten. ok is false if
// a loss was suspected before the journal had the record.
func (f *flight) landOn(fact link.Fact[record.Record]) (next phase, ok bool) {
	b := f.bucket
	var opened record.Record
	var sealed error
	r, ok := fact.After(func(r record.Record, e link.Epoch) {
		if opened, sealed = b.open(f.led(), r); sealed == nil {
			b.journal.add(f.tenant, f.fingerprint, &r, e) // as it is in Redis
		}
	})
	if !ok {
		return f.phase, false
	}
	if sealed != nil {
		return f.land(landing{outcome: unopenedAs(sealed), attempt: r.Attempt}), true
	}
	l := landing{outcome: Replayed, attempt: r.Attempt, record: &opened}
	switch {
	case r.Verdict != record.NoVerdict:
		f.remarkVerdict(&r)
		l = landing{outcome: outcomeOf(r.Verdict), attempt: r.Attempt}
	case r.Forgotten():
		l = landing{outcome: Processing, attempt: r.Attempt}
	default:
		b.gate.replayCache.keepUntracked(f.tenant, f.fingerprint, &opened, fact.Epoch(), f.mark)
		if f.isKnown() {
			l.outcome = Waited
		}
	}
	return f.land(l), true
}

// remarkVerdict says once in the log that a webhook waits for a person.
func (f *flight) remarkVerdict(r *record.Record) {
	b := f.bucket
	if b.gate.judged.first(f.fingerprint) {
		b.gate.meters.events.add(Event{
			b.link.Now(), f.tenant.Name, f.fingerprint, string(r.Verdict), r.Attempt, r.Reason,
		})
		b.logOf(f.led(), r.Attempt).Warn("a webhook is not executed any more until a person decides: oncegate inspect, "+
			"forget, resolve", "verdict", string(r.Verdict), "reason", r.Reason)
	}
}

// led returns the parts that logs name of the request that the flight claims for.
func (f *flight) led() *Request {
	return &Request{Tenant: f.tenant, Fingerprint: f.fingerprint, Span: f.span}
}

// outcomeOf returns a caller's outcome for a verdict.
func outcomeOf(v record.Verdict) Outcome {
	if v == record.Poisoned {
		return Poisoned
	}
	return Doubtful
}

// landOnForeign lands on a value that no version of ours wrote. attempt is that of the execution that met it; 0: a
// claim met it.
func (f *flight) landOnForeign(err error, attempt int64) phase {
	f.bucket.logOf(f.led(), attempt).Error("another program's value stands at a record's key, and its webhook gets 503: "+
		"one of the two programs needs another KEY_PREFIX", "key", f.key, "error", err)
	return f.land(landing{outcome: Foreign})
}

// foreign returns the error about a foreign value, which says whether another version of ours wrote it.
func foreign(form string) error {
	if form == "" || form == "1" { // a broken line of our own form counts as nobody's
		return record.ErrForeign
	}
	return fmt.Errorf("%w: its form is %s, and this version knows form 1 alone: run one version, or one that knows both",
		record.ErrForeign, form)
}

// listen makes sure that notify is heard from now on, and clears what it has told before.
func (f *flight) listen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wake = make(chan struct{}, 1)
}

// wait sleeps until notify is called (then it returns true), until d is over, or until the gate closes. A notify since
// listen counts.
func (f *flight) wait(d time.Duration) (changed bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-f.wake:
		return true
	case <-timer.C:
	case <-f.bucket.gate.life.Done():
	}
	return false
}

// notify tells the driver that the record may have changed, or that the lease was lost.
func (f *flight) notify() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case f.wake <- struct{}{}: // if the channel is not made yet (nil), this case never runs
	default:
	}
}
