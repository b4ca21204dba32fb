// Package backoff spaces tries so that those who failed together do not come back together.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Backoff makes the pauses of one caller between its tries. The n-th pause, from 0, is of any length up to First
// doubled n times, at most Most (full jitter). There is no lower bound: the next one's bound doubles however short a
// pause was, so that a few tries may follow at once and no more. The zero value is no Backoff: both must be above 0.
type Backoff struct {
	First, Most time.Duration

	bound time.Duration // of the last pause
}

// Next returns the next pause, above 0.
func (b *Backoff) Next() time.Duration {
	b.bound = min(max(2*b.bound, b.First), b.Most)
	return Jitter(b.bound)
}

// Jitter returns a length of time above 0 and up to bound, each as likely as the other. The bound must be above 0.
func Jitter(bound time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(bound))) + 1 //nolint:gosec // no token: it only spreads load
}
