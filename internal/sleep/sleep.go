// Package sleep waits for a length of time that a context can cut short.
package sleep

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends; then the error is ctx.Err().
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
