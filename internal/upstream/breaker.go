package upstream

import (
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/oncegate/oncegate/handler/logic"
)

// breaker leaves a backend alone that fails again and again: for a pause nothing is sent, then one execution probes for
// all, and its end opens or closes.
type breaker struct {
	circuit *gobreaker.CircuitBreaker[logic.Result]
	log     *slog.Logger
	onTrip  func(until time.Time)
	most    int          // failures in a row that open it
	until   atomic.Int64 // when it was opened last, and how long that lasts; Unix nanoseconds

	mu      sync.Mutex // guards changes
	changes []change   // that were not told yet: the circuit reports them under its own lock, no place for a log
}

type change struct {
	from, to gobreaker.State
	until    time.Time
}

func newBreaker(failures int, pause time.Duration, log *slog.Logger, onTrip func(time.Time)) *breaker {
	b := &breaker{log: log, onTrip: onTrip, most: failures}
	threshold := uint32(min(failures, math.MaxUint32))
	b.circuit = gobreaker.NewCircuitBreaker[logic.Result](gobreaker.Settings{
		MaxRequests:  1,
		Timeout:      pause,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= threshold },
		IsSuccessful: func(err error) bool { return healthOf(err) == well },
		IsExcluded:   func(err error) bool { return healthOf(err) == unrelated },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.mu.Lock()
			defer b.mu.Unlock()
			until := time.Now().Add(pause)
			b.until.Store(until.UnixNano())
			b.changes = append(b.changes, change{from, to, until})
		},
	})
	return b
}

// guard executes, if the breaker lets it.
func (b *breaker) guard(execute func() (logic.Result, error)) (logic.Result, error) {
	result, err := b.circuit.Execute(execute)
	b.tell()
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		wait, _ := b.admits()
		err = leftAlone("the backend failed too often and is left alone for a while", wait)
	}
	return result, err
}

// admits reports whether guard would let an execution through, and if not, for how long, where that is known. While one
// probes none begins: what it would claim could only fail.
func (b *breaker) admits() (wait time.Duration, ok bool) {
	switch b.circuit.State() {
	case gobreaker.StateOpen:
		return time.Until(time.Unix(0, b.until.Load())), false
	case gobreaker.StateHalfOpen:
		c := b.circuit.Counts()
		return 0, c.Requests == c.TotalExclusions
	default:
		return 0, true
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
				b.log.Warn("circuit breaker open: the backend gets no requests for a while, then one as a probe",
					"failures_in_a_row", b.most, "until", c.until)
			}
			b.onTrip(c.until)
		case c.to == gobreaker.StateClosed:
			b.log.Info("circuit breaker closed: the backend answers again")
		}
	}
}
