package link

import "time"

// Lease is a lease by this replica's own clock. It runs from before its claim or renewal was sent (Reply.Sent), so that
// it ends here before it ends in Redis.
type Lease struct {
	sent   time.Time
	length time.Duration
}

// NewLease returns a lease of this length that was asked for at the time sent.
func NewLease(sent time.Time, length time.Duration) Lease { return Lease{sent, length} }

// Lease returns the lease that an operation won.
func (l *Link) Lease(r Reply) Lease { return NewLease(r.Sent, l.LockTTL) }

// Left is what is left of the lease, by monotonic or by wall time, whichever has run farther: monotonic time stands
// still while a machine sleeps, and wall time can be set back.
func (l Lease) Left() time.Duration { return l.length - l.Age() }

// Age is how long ago the claim or renewal was sent.
func (l Lease) Age() time.Duration {
	now := time.Now()
	return max(now.Sub(l.sent), now.Round(0).Sub(l.sent.Round(0)))
}

// End is when the lease ends by this process' own clock, if the machine does not sleep.
func (l Lease) End() time.Time { return l.sent.Add(l.length) }

// Over reports whether the lease has ended.
func (l Lease) Over() bool { return l.Left() <= 0 }
