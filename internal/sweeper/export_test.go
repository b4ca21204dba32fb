package sweeper

import (
	"context"
	"time"
)

// Rest replaces the pauses between batches by calls of rest.
func (s *Sweeper) Rest(rest func(context.Context, time.Duration) error) { s.rest = rest }
