package sweeper

import (
	"context"
	"time"
)

// idle is the length of the pause after a batch, in units of the batch's own time. A sweep keeps Redis busy for at most
// a fifth of the time, however many records there are, and for less if Redis is slow for another reason.
const idle = 4

// pace puts pauses between batches.
type pace struct {
	timeout time.Duration // of a batch
	rest    func(context.Context, time.Duration) error
}

// do runs a batch under a deadline, then pauses. It returns how long the batch took.
func (p pace) do(ctx context.Context, batch func(context.Context) error) (took time.Duration, err error) {
	begun := time.Now()
	within, cancel := context.WithTimeout(ctx, p.timeout)
	err = batch(within)
	cancel()
	took = time.Since(begun)
	if err != nil {
		return took, err
	}
	return took, p.rest(ctx, idle*took)
}
