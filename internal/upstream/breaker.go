package upstream

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/oncegate/oncegate/handler"
)

// breaker leaves a backend alone that fails again and again: for a pause nothing is sent, then one execution probes for
// all, and its end opens or closes.
type breaker struct {
	circuit *gobreaker.CircuitBreaker[handler.Result]
	log     *slog.Logger
	onTrip  func(until time.Time)

	mu      sync.Mutex // guards changes
	changes []change   // that were not told yet: the circuit reports them under its own lock, no place for a log
}

type change struct {
	from, to gobreaker.State
	until    time.Time
}

func newBreaker(failures int, pause time.Duration, log *slog.Logger, onTrip func(time.Time)) *breaker {
	b := &breaker{log: log, onTrip: onTrip}
	threshold := uint32(min(failures, math.MaxUint32))
	b.circuit = gobreaker.NewCircuitBreaker[handler.Result](gobreaker.Settings{
		MaxRequests:  1,
		Timeout:      pause,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= threshold },
		IsSuccessful: func(err error) bool { return healthOf(err) == well },
		IsExcluded:   func(err error) bool { return healthOf(err) == unrelated },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.changes = append(b.changes, change{from, to, time.Now().Add(pause)})
		},
	})
	return b
}

// guard executes, if the breaker lets it.
func (b *breaker) guard(execute func() (handler.Result, error)) (handler.Result, error) {
	result, err := b.circuit.Execute(execute)
	b.tell()
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		err = fmt.Errorf("the backend failed too often and is left alone for a while, nothing was sent: %w", handler.ErrRefused)
	}
	return result, err
}

// admits reports whether guard would let an execution through. While one probes none begins: what it would claim could
// only fail.
func (b *breaker) admits() bool {
	switch b.circuit.State() {
	case gobreaker.StateOpen:
		return false
	case gobreaker.StateHalfOpen:
		c := b.circuit.Counts()
		return c.Requests == c.TotalExclusions
	default:
		return true
	}
}

// tell tells of what changed, once. A probe that failed is an execution that failed, and is logged as that.
func (b *breaker) tell() {
	b.mu.Lock()
	changes := b.changes
	b.changes = nil
	b.mu.Unlock()
	for _, c := range changes {
		switch {
		case c.to == gobreaker.StateOpen:
			if c.from == gobreaker.StateClosed {
				b.log.Warn("the backend fails again and again: it is left alone for a while, then probed", "until", c.until)
			}
			b.onTrip(c.until)
		case c.to == gobreaker.StateClosed:
			b.log.Info("the backend answers again")
		}
	}
}
