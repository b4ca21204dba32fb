package gate_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
)

func TestAWebhookWhoseExecutionsFailTooOftenIsLeftAlone(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.MaxAttempts = 3
		a, b := h.open(o), h.open(o)
		h.setLogic(func(context.Context, int64) (record.Result, error) { return record.Result{}, errLogic })
		for range 3 {
			h.expect(a.send(1), gate.Failed, "")
		}
		h.expect(a.send(1), gate.Poisoned, "")
		h.expect(b.send(1), gate.Poisoned, "")
		h.expect(b.Find(nil, h.request(1, "").Fingerprint), gate.Poisoned, "")
		h.expectExecutions(3)
		h.expectCounts(map[string]int64{"total_requests": 5, "executed": 3, "failed": 3, "unavailable": 2, "poisoned": 2})

		h.forget(1, false)
		h.setLogic(func(_ context.Context, attempt int64) (record.Result, error) {
			if attempt < 6 {
				return record.Result{}, errLogic
			}
			return answer(`{}`), nil
		})
		h.expect(a.send(1), gate.Failed, "") // 5: it counts anew
		h.expect(b.send(1), gate.Executed, `{}`)
	})
}

func TestACrashCountsAsAFailureAndARefusalDoesNot(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.MaxAttempts = 2
		r := h.open(o)
		over, lease := time.Now().Add(-time.Second), time.Second
		for n, c := range []struct {
			stands record.Record
			want   gate.Outcome
		}{
			{record.Record{State: record.InProgress, Attempt: 2, Token: "t", Deadline: over, Lease: lease, Started: over,
				Failures: 1}, gate.Poisoned},
			{record.Record{State: record.InProgress, Attempt: 1, Token: "t", Deadline: over, Lease: lease, Started: over},
				gate.Executed},
			{record.Record{State: record.Failed, Attempt: 2, Token: "t", FailedAt: over, Reason: "timeout",
				Digest: digestOf("body"), Failures: 2}, gate.Poisoned},
			{record.Record{State: record.Failed, Attempt: 9, Token: "t", FailedAt: over, Reason: "refused",
				Digest: digestOf("body"), Failures: 1}, gate.Executed},
		} {
			h.record(n, c.stands)
			if a := r.send(n); a.Outcome != c.want {
				t.Errorf("%+v: %s", c.stands, name(a.Outcome))
			}
		}
		h.setLogic(func(context.Context, int64) (record.Result, error) { return record.Result{}, record.ErrRefused })
		for range 5 {
			h.expect(r.send(100), gate.Refused, "")
		}
	})
}

func TestNoMoreExecutionsAreBegunThanMayRun(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.MaxExecutions = 2
		a := h.open(o)
		h.expect(a.send(0), gate.Executed, `{"execution":1}`)
		entered, release := h.blocked()
		first, second := a.later(1), a.later(2)
		<-entered
		<-entered
		h.expect(a.send(3), gate.Overloaded, "")
		h.expect(a.send(0), gate.Replayed, `{"execution":1}`) // that is served as ever
		joins := h.request(1, "body")                         // so is a request that joins a flight
		joins.Arrived = joins.Arrived.Add(-o.WaitTimeout)
		h.expect(a.Do(joins), gate.Processing, "")
		close(release)
		h.expect(<-first, gate.Executed, `{"attempt":1}`)
		h.expect(<-second, gate.Executed, `{"attempt":1}`)
		for n := range 5 { // their places are free again, however they ended
			h.setLogic(func(context.Context, int64) (record.Result, error) { return record.Result{}, errLogic })
			h.expect(a.send(10+n), gate.Failed, "")
		}
		h.expectCounts(map[string]int64{"total_requests": 11, "executed": 8, "unavailable": 1, "overloaded": 1})
	})
}

func TestWhatIsNotExecutedTakesNoPlace(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a := h.open(options())
		o := options()
		o.MaxExecutions = 1
		b := h.open(o)
		for n := range 3 {
			a.send(n)
			h.expect(b.send(n), gate.Replayed, fmt.Sprintf(`{"execution":%d}`, n+1))
		}
		h.expect(b.send(3), gate.Executed, `{"execution":4}`)
	})
}

func TestFailuresAreCountedThroughRenewals(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.MaxAttempts, o.LockTTL = 2, time.Second
		r := h.open(o)
		h.setLogic(func(context.Context, int64) (record.Result, error) {
			claimed := h.recordOf(1).Deadline
			h.eventually("its lease is renewed", func() bool { return h.recordOf(1).Deadline.After(claimed) })
			return record.Result{}, errLogic
		})
		h.expect(r.send(1), gate.Failed, "")
		h.expect(r.send(1), gate.Failed, "")
		h.expect(r.send(1), gate.Poisoned, "")
	})
}

func TestNoMoreRequestsWaitThanMay(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.MaxWaiters = 10
	a := h.open(o)
	entered, release := h.blocked()
	first := a.later(1)
	<-entered
	answers := make(chan gate.Answer)
	for i := range 30 {
		go func() { answers <- a.send(2 + i) }()
	}
	for range 21 {
		h.expect(<-answers, gate.Overloaded, "")
	}
	close(release)
	h.expect(<-first, gate.Executed, `{"attempt":1}`)
	for range 9 {
		h.expect(<-answers, gate.Executed, `{"attempt":1}`)
	}
	h.eventually("places are free again", func() bool { return a.send(1).Outcome == gate.Replayed })
}
