package link

import "time"

// Lease is what this replica believes of a lease, by its own clock. It runs from before the claim or the renewal that
// won it was sent (Reply.Sent), so that it ends here before it ends in Redis.
type Lease struct {
	sent   time.Time
	length time.Duration
}

// NewLease returns one of a length that was asked for at a time.
func NewLease(sent time.Time, length time.Duration) Lease { return Lease{sent, length} }

// Lease returns the one that an operation won.
func (l *Link) Lease(r Reply) Lease { return NewLease(r.Sent, l.LockTTL) }

// Left takes the larger of monotonic and wall time: the one stands still while a machine sleeps, the other can be set
// back.
func (l Lease) Left() time.Duration { return l.length - l.Age() }

// Age is how long ago it was sent.
func (l Lease) Age() time.Duration {
	now := time.Now()
	return max(now.Sub(l.sent), now.Round(0).Sub(l.sent.Round(0)))
}

// End is when it ends by this process' own clock, if the machine does not sleep.
func (l Lease) End() time.Time { return l.sent.Add(l.length) }

// Over reports whether it has ended.
func (l Lease) Over() bool { return l.Left() <= 0 }
