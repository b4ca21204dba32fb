package gate

import (
	"fmt"
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/backoff"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

// A flight goes through phases. One goroutine drives it, and only that driver moves it on:
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
//	executing | storing   | the logic has returned
//	executing | claiming  | the lease was lost: another attempt stands in Redis
//	executing | landed    | the lease was lost, because a person had the webhook forgotten
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
)

// steps has what the driver does in each phase. A step returns the next phase.
var steps = [...]func(*flight) phase{
	claiming:  (*flight).claim,
	watching:  (*flight).watch,
	settling:  (*flight).settle,
	executing: (*flight).execute,
	storing:   (*flight).store,
}

// flight is what this process does for one fingerprint at a time. It belongs to its bucket, not to a connection: the
// callers that joined it come and go.
type flight struct {
	// Fixed at construction.
	bucket      *bucket
	fingerprint fingerprint.Fingerprint
	key         string
	first       record.Digest // of the body that began it
	wake        chan struct{} // holds one: the record has changed, or may have
	done        chan struct{} // closed when it has landed

	// The driver's own.
	phase     phase
	token     string
	looked    bool            // a claim has been answered: the next one is no first look
	left      time.Duration   // settling: how long; watching: what the other's lease had left
	leaseEnds time.Time       // watching: when that lease ends, as far as is known
	asksAgain time.Time       // watching: when it claims in any case
	execution *execution      // executing, storing
	pauses    backoff.Backoff // storing

	mu sync.Mutex // guards what follows

	callers     []*caller     // in order of arrival; may still hold callers that have departed
	departed    int           // how many of them have
	leader      *caller       // for whom a claim is under way
	answered    chan struct{} // closed when that claim is answered
	runs        chan struct{} // closed by a claim's answer that an execution runs; a new one for the next claim
	runsUntil   time.Time     // that answer is over then: the lease of another replica; zero: it runs here
	known       bool          // the fingerprint was claimed: a request that joins now is a duplicate
	attempt     int64         // of the execution that it runs or waits for; 0: not known
	digest      record.Digest // of the body that is executed, once digestKnown is closed
	digestKnown chan struct{}
	mixed       bool          // a request with another body than the first has joined
	stalled     chan struct{} // closed while an execution that has ended cannot be stored
	landing     landing       // set before done is closed
}

func newFlight(b *bucket, f fingerprint.Fingerprint, first record.Digest) *flight {
	return &flight{
		bucket: b, fingerprint: f, key: b.link.Keys.Record(f), first: first, pauses: link.Pauses(),
		wake: make(chan struct{}, 1), done: make(chan struct{}), digestKnown: make(chan struct{}),
		stalled: make(chan struct{}),
		runs:    make(chan struct{}),
	}
}

// drive moves the flight on until it has landed.
func (f *flight) drive() {
	f.token = f.bucket.gate.tokens.next()
	for f.phase != landed {
		f.step()
	}
}

func (f *flight) step() { f.phase = steps[f.phase](f) }

// landing is how a flight ended: Executed by itself, Replayed or Waited for with the record found (its result opened),
// Processing if a person had it forgotten, or an outcome without a record.
type landing struct {
	outcome Outcome
	attempt int64
	record  record.Record
	after   time.Duration // Failed, Refused: how long to wait before asking again; 0 if that is not known
}

// land ends the flight: all its callers get what it found, and the next request begins anew.
func (f *flight) land(l landing) phase {
	f.bucket.flights.remove(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.landing = l
	f.callers = nil
	close(f.done)
	return landed
}

// landOn lands on what stands in Redis: a result, a verdict, or that a person had the webhook forgotten. ok is false if
// a loss was suspected before the journal had it.
func (f *flight) landOn(fact link.Fact[record.Record]) (next phase, ok bool) {
	b := f.bucket
	var opened record.Record
	var sealed error
	r, ok := fact.After(func(r record.Record, e link.Epoch) {
		if opened, sealed = b.open(f.fingerprint, r); sealed == nil {
			b.journal.add(f.fingerprint, r, e) // as it stands in Redis
		}
	})
	if !ok {
		return f.phase, false
	}
	if sealed != nil {
		return f.land(landing{outcome: unopenedAs(sealed), attempt: r.Attempt}), true
	}
	l := landing{outcome: Replayed, attempt: r.Attempt, record: opened}
	switch {
	case r.Verdict != record.NoVerdict:
		b.remarkVerdict(f.fingerprint, &r)
		l = landing{outcome: outcomeOf(r.Verdict), attempt: r.Attempt}
	case r.Forgotten():
		l = landing{outcome: Processing, attempt: r.Attempt}
	default:
		b.gate.replayCache.add(f.fingerprint)
		if f.isKnown() {
			l.outcome = Waited
		}
	}
	return f.land(l), true
}

// remarkVerdict says once in the log that a webhook waits for a person.
func (b *bucket) remarkVerdict(of fingerprint.Fingerprint, r *record.Record) {
	if b.gate.judged.first(of) {
		b.log.Warn("a webhook is not executed any more until a person decides: oncegate inspect, forget, resolve",
			"verdict", string(r.Verdict), "fingerprint", of, "attempt", r.Attempt, "reason", r.Reason)
	}
}

// outcomeOf is what a verdict is to a caller.
func outcomeOf(v record.Verdict) Outcome {
	if v == record.Poisoned {
		return Poisoned
	}
	return Doubtful
}

func (f *flight) landOnForeign(err error) phase {
	f.bucket.log.Error("another program's value stands at a record's key, and its webhook gets 503: one of the two "+
		"programs needs "+
		"another KEY_PREFIX", "key", f.key, "error", err)
	return f.land(landing{outcome: Foreign})
}

// foreign says of a value whether another version of ours wrote it.
func foreign(form string) error {
	if form == "" || form == "1" { // a broken line of ours is nobody's
		return record.ErrForeign
	}
	return fmt.Errorf("%w: its form is %s, and this version knows form 1 alone: run one version, or one that knows both",
		record.ErrForeign, form)
}

// wait sleeps until the flight's record may have changed (true), d is over, or the gate closes.
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

// notify tells the driver that the record may have changed.
func (f *flight) notify() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}
