// Package shutdown handles the signals that end the gateway.
package shutdown

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Signals receives SIGTERM and interrupts, from the call of Notify on.
type Signals struct {
	came  chan os.Signal
	delay time.Duration
}

// Notify returns a context that the first signal ends. If there is a delay (DRAIN_DELAY), the second signal cuts the
// draining short and the third one ends the process at once. Without a delay the second one does that.
func Notify(delay time.Duration) (context.Context, *Signals) {
	s := &Signals{came: make(chan os.Signal, 1), delay: delay}
	signal.Notify(s.came, os.Interrupt, syscall.SIGTERM)
	ctx, end := context.WithCancel(context.Background())
	go func() {
		<-s.came
		if s.delay == 0 {
			signal.Stop(s.came) // before ctx ends, so that a second signal ends the process however soon it comes
		}
		end()
	}()
	return ctx, s
}

// Drain calls tell, which sends callers elsewhere, and waits until the delay is over or the next signal comes: a load
// balancer needs that time to notice. Without a delay Drain does nothing.
func (s *Signals) Drain(tell func(), log *slog.Logger) {
	if s.delay == 0 {
		return
	}
	tell()
	log.Info("draining: /readyz answers 503; the listener closes after DRAIN_DELAY, or at a second signal",
		"delay", s.delay)
	over := time.NewTimer(s.delay)
	defer over.Stop()
	select {
	case <-over.C:
	case <-s.came:
	}
	signal.Stop(s.came)
}
