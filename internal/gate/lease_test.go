package gate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// TestALeaseIsRenewedUntilTheLogicHasReturned: only logic that has returned is known to have stopped, and its result
// counts.
func TestALeaseIsRenewedUntilTheLogicHasReturned(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.LockTTL, o.ExecutionTimeout = 3*time.Second, 100*time.Millisecond
		a, b := h.open(o), h.open(o)
		entered, cancelled := make(chan struct{}, 9), make(chan error, 9)
		h.setLogic(func(ctx context.Context, _ int64) (record.Result, error) {
			entered <- struct{}{}
			<-ctx.Done()
			cancelled <- context.Cause(ctx)
			time.Sleep(2 * o.LockTTL) // it ignores that
			return answer(`{"late":true}`), nil
		})
		first := a.later(1)
		<-entered
		second := b.later(1)
		if cause := <-cancelled; !errors.Is(cause, record.ErrTimeout) {
			t.Errorf("cancelled because of %v", cause)
		}
		h.expect(<-first, gate.Executed, `{"late":true}`)
		h.expect(<-second, gate.Waited, `{"late":true}`)
		h.expectExecutions(1)
	})
}

func TestAFailureElsewhereIsFollowedByTheNextAttempt(t *testing.T) {
	t.Parallel()
	h := onReal(t) // it takes tracking to see that
	a, b := h.open(options()), h.open(options())
	entered, release := make(chan struct{}, 1), make(chan struct{})
	h.setLogic(func(_ context.Context, attempt int64) (record.Result, error) {
		if attempt == 1 {
			entered <- struct{}{}
			<-release
			return record.Result{}, errLogic
		}
		return answer(`{"attempt":2}`), nil
	})
	first := a.later(1)
	<-entered
	looks := func() int { return calls(redistest.Do(t, h.client, "INFO", "commandstats"), "client|caching") }
	atStart := looks()
	elsewhere := b.later(1)
	h.eventually("it waits elsewhere", func() bool { return looks() > atStart })
	close(release)
	h.expect(<-first, gate.Failed, "")
	h.expect(<-elsewhere, gate.Executed, `{"attempt":2}`)
	h.expectExecutions(2)
}

func TestAFullRedisLosesNoResult(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		h.server.Config("min-replicas-to-write", "1")
		time.AfterFunc(300*time.Millisecond, func() { h.server.Config("min-replicas-to-write", "0") })
		return answer(`{"booked":true}`), nil
	})
	h.expect(r.send(1), gate.Executed, `{"booked":true}`)
	h.expectExecutions(1)
}
