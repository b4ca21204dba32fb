package sweeper

import (
	"context"
	"time"
)

// Rest has rest called in place of the pauses between batches.
func (s *Sweeper) Rest(rest func(context.Context, time.Duration) error) { s.rest = rest }
