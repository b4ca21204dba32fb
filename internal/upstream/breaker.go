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

// breaker spares a backend that fails again and again. It opens after most failures in a row: for a pause no request is
// sent. Then one execution probes the backend, and its outcome opens the breaker again or closes it.
type breaker struct {
	circuit *gobreaker.CircuitBreaker[logic.Result]
	log     *slog.Logger
	onTrip  func(until time.Time)
	most    int          // failures in a row that open the breaker
	until   atomic.Int64 // when the last opening ends; Unix nanoseconds

	mu      sync.Mutex // guards changes
	changes []change   // not logged yet: the circuit reports a change under its own lock, where logging must not block
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

// guard executes unless the breaker refuses.
func (b *breaker) guard(execute func() (logic.Result, error)) (logic.Result, error) {
	result, err := b.circuit.Execute(execute)
	b.tell()
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		wait, _ := b.admits()
		err = leftAlone("circuit breaker open: the backend failed too often", wait)
	}
	return result, err
}

// admits reports whether guard would let an execution through. If not, wait is how long it will refuse, 0 if that is
// not known. While one execution probes, no other is admitted: it would claim a webhook only to fail.
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

// tell logs each change once, and reports each opening to onTrip. A failed probe is not logged here, because its
// execution is logged as failed.
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
