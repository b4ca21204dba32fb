// Package backoff makes random pauses between tries, so that callers that failed together do not come back together.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Backoff makes the pauses of one caller between its tries. The n-th pause, counted from 0, is random between 0 and
// First doubled n times, at most Most (full jitter). A pause may be very short, but the bound doubles all the same, so
// that only a few tries can follow each other at once. Both fields must be above 0.
type Backoff struct {
	First, Most time.Duration

	bound time.Duration // bound of the last pause
}

// Next returns the next pause, above 0.
func (b *Backoff) Next() time.Duration {
	b.bound = min(max(2*b.bound, b.First), b.Most)
	return Jitter(b.bound)
}

// Jitter returns a random length of time above 0 and up to bound, evenly distributed. The bound must be above 0.
func Jitter(bound time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(bound))) + 1 //nolint:gosec // not a secret: it only spreads load
}
