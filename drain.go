package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/oncegate/oncegate/handler"
)

// signalled returns a context that the first signal ends. From then on a signal ends the process, as it would without
// us; but where something drains, the second one comes to the channel, to cut that short.
func signalled(drains bool) (context.Context, chan os.Signal) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, end := context.WithCancel(context.Background())
	go func() {
		<-signals
		if !drains {
			signal.Stop(signals) // before the end is told: a second signal may come at once
		}
		end()
	}()
	return ctx, signals
}

// drain tells callers to go elsewhere, and goes on serving them until delay is over or a signal comes: a load balancer
// needs that long to hear of it. The next signal ends the process.
func drain(gateway *handler.Gateway, delay time.Duration, signals chan os.Signal, log *slog.Logger) {
	if delay == 0 {
		return
	}
	gateway.Drain()
	log.Info("draining: /readyz says no; the listener closes after DRAIN_DELAY, or at a second signal", "delay", delay)
	over := time.NewTimer(delay)
	defer over.Stop()
	select {
	case <-over.C:
	case <-signals:
	}
	signal.Stop(signals)
}
