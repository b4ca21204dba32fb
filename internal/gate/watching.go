package gate

import (
	"time"

	"github.com/oncegate/oncegate/internal/record"
)

const (
	// lookAgain bounds how long a waiter goes without asking the script, if tracking is lost (a slot that moved).
	lookAgain = 2 * time.Second
	// lookUntracked is how often a waiter asks if Redis tells no changes. The embedded store, which serves one process,
	// needs it only after a claim was given up.
	lookUntracked = 50 * time.Millisecond
)

// watch waits for a change of the record that another replica holds, and looks at it through the client-side cache.
//
// The order closes a race. The cache is asked only once the flight can be woken, and asking makes Redis track the
// record for this connection: so a change is either seen or wakes the flight. One wake-up serves all callers that wait
// here.
func (f *flight) watch() phase {
	b := f.bucket
	if !b.gate.tracking {
		f.listen()
		f.wait(min(f.left, lookUntracked))
		return claiming
	}
	f.listen()
	fact, _, err := b.link.Get(f.key)
	r, current := fact.Now()
	switch {
	case err != nil: // the script will say what it is, but must not be asked without a pause
		f.wait(min(f.left, lookUntracked))
		return claiming
	case !current:
		return claiming
	case r.State != record.InProgress:
		// With REPLICAS_ACK only the script's call can tell whether the Redis replicas have it.
		if (r.HasResult() || r.Forgotten()) && b.link.CacheTrusted() && b.gate.options.ReplicasAck == 0 {
			if next, ok := f.landOn(fact); ok {
				return next
			}
		}
		return claiming
	}
	// The script's answer about the lease is newer than a cache that lags, or that lost its tracking.
	if renewed := time.Now().Add(r.Deadline.Sub(b.link.Now())); renewed.After(f.leaseEnds) {
		f.leaseEnds = renewed
	}
	f.follow(r.Attempt, r.Digest, f.leaseEnds)
	until := f.leaseEnds
	if f.asksAgain.Before(until) {
		until = f.asksAgain
	}
	if f.wait(time.Until(until)) {
		return watching
	}
	return claiming
}

// follow notes which attempt the flight waits for, and until when that runs unless its lease is renewed.
func (f *flight) follow(attempt int64, digest record.Digest, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempt, f.runsUntil = attempt, until
	f.setDigest(digest)
}
