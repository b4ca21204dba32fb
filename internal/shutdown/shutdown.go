// Package shutdown takes the signals that end the gateway.
package shutdown

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Signals are SIGTERM and an interrupt, from Notify on.
type Signals struct {
	came  chan os.Signal
	delay time.Duration
}

// Notify returns a context that the first signal ends. With a delay (DRAIN_DELAY) the second signal cuts the draining
// short (Drain), and the third ends the process, as it would without us. Without a delay the second one does.
func Notify(delay time.Duration) (context.Context, *Signals) {
	s := &Signals{came: make(chan os.Signal, 1), delay: delay}
	signal.Notify(s.came, os.Interrupt, syscall.SIGTERM)
	ctx, end := context.WithCancel(context.Background())
	go func() {
		<-s.came
		if s.delay == 0 {
			signal.Stop(s.came) // before the end is told: a second signal may come at once
		}
		end()
	}()
	return ctx, s
}

// Drain tells callers to go elsewhere, and waits until the delay is over or a signal comes: a load balancer needs that
// long to hear of it. Without a delay it does nothing.
func (s *Signals) Drain(tell func(), log *slog.Logger) {
	if s.delay == 0 {
		return
	}
	tell()
	log.Info("draining: /readyz says no; the listener closes after DRAIN_DELAY, or at a second signal", "delay", s.delay)
	over := time.NewTimer(s.delay)
	defer over.Stop()
	select {
	case <-over.C:
	case <-s.came:
	}
	signal.Stop(s.came)
}
