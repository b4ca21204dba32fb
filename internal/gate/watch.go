package gate

import (
	"time"

	"github.com/oncegate/oncegate/internal/record"
)

const (
	// lookAgain is the net under lost tracking (a slot that moved): a waiter asks the script at the latest after it.
	lookAgain = 2 * time.Second
	// lookUntracked is how often a waiter asks where Redis tells no changes: the embedded store, which serves one
	// process, needs it only after a claim was given up.
	lookUntracked = 50 * time.Millisecond
)

// watch waits while another replica holds the record, left being what its lease has left. It returns the record where
// it is done or forgotten, as it stood when so many signals had been raised; else ended is false: only a claim can tell
// what is to be done.
//
// The order closes a race: the cache is asked after the flight can be woken, so that a change is either seen or wakes;
// asking makes Redis track the record for this connection. The wake-up is one for all who wait here.
func (b *bucket) watch(f *flight, left time.Duration) (r record.Record, signals uint64, ended bool) {
	if !b.tracking {
		b.pause(f, min(left, lookUntracked))
		return r, signals, false
	}
	// What the script said of the lease is newer than a cache that lags, or lost its tracking.
	lease := time.Now().Add(left)
	net := time.Now().Add(lookAgain)
	for {
		select {
		case <-f.wake:
		default:
		}
		signals = b.signals.raised.Load()
		value, _, err := b.cached(f.key)
		if err == nil {
			r, err = record.Parse(value)
		}
		if err != nil { // the script will say what it is, but must not be asked without a pause
			b.pause(f, min(left, lookUntracked))
			return r, signals, false
		}
		if r.State != record.InProgress {
			ended = (r.HasResult() || r.Forgotten()) && !b.signals.open() && b.believed(signals) &&
				b.ReplicasAck == 0 // else only the script's call can tell whether replicas have it
			return r, signals, ended
		}
		f.follow(r.Attempt, r.Digest)
		if renewed := time.Now().Add(r.Deadline.Sub(b.redisNow())); renewed.After(lease) {
			lease = renewed
		}
		until := lease
		if net.Before(until) {
			until = net
		}
		if !b.pause(f, time.Until(until)) {
			return r, signals, false
		}
	}
}
