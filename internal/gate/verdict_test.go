package gate_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// atMostOnce returns the options of a gate that stops a webhook after one attempt, and whose replicas notice a lost
// lease soon.
func atMostOnce() gate.Options {
	o := options()
	o.MaxAttempts, o.LockTTL, o.RedisPatience = 1, 3*time.Second, 2*time.Second
	o.RedisTimeout = time.Second
	return o
}

// cutOff makes a replica execute webhook 1, cuts it off from Redis past its lease, and has another one judge the
// attempt.
func (h *testbed) cutOff(
	o gate.Options, verdict gate.Outcome,
) (owner *replica, first <-chan gate.Answer, release chan struct{}) {
	h.Helper()
	owner, other := h.openBehindProxy(o), h.open(o)
	entered := make(chan struct{}, 1)
	release = make(chan struct{})
	h.setLogic(func(ctx context.Context, _ int64) (record.Result, error) { // it goes on, even after its context has ended
		entered <- struct{}{}
		<-release
		return answer(`{"booked":true}`), nil
	})
	first = owner.later(1)
	<-entered
	owner.proxy.Cut()
	h.eventually("its lease ends", func() bool { return h.recordOf(1).Deadline.Before(time.Now()) })
	h.expect(other.send(1), verdict, "")
	return owner, first, release
}

func TestAVerdictStandsWhateverItsOwnerComesBackWith(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		change  func(*gate.Options)
		verdict gate.Outcome
	}{
		{"poisoned", func(*gate.Options) {}, gate.Poisoned},
		{"doubtful", func(o *gate.Options) { o.MaxAttempts, o.StopInDoubt = 0, true }, gate.Doubtful},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := onReal(t)
			o := atMostOnce()
			c.change(&o)
			owner, entered := h.openBehindProxy(o), make(chan struct{}, 1)
			other := h.open(o)
			h.setLogic(func(ctx context.Context, _ int64) (record.Result, error) {
				entered <- struct{}{}
				<-ctx.Done() // its lease is over by its own clock
				return record.Result{}, context.Cause(ctx)
			})
			first := owner.later(1)
			<-entered
			owner.proxy.Cut()
			h.eventually("its lease ends", func() bool { return h.recordOf(1).Deadline.Before(time.Now()) })
			h.expect(other.send(1), c.verdict, "")
			owner.proxy.Mend()
			<-first
			h.eventually("the owner has told its end", func() bool { return h.metrics()["failed"] == 1 })
			later := options() // other settings do not change a verdict
			for _, r := range []*replica{owner, other, h.open(later)} {
				h.expect(r.send(1), c.verdict, "")
			}
			h.expectExecutions(1)
		})
	}
}

func TestAnOwnerThatSucceedsAfterTheVerdictEndsAllDoubt(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	owner, first, release := h.cutOff(atMostOnce(), gate.Poisoned)
	owner.proxy.Mend()
	close(release)
	<-first
	h.eventually("its result is stored", func() bool { return h.recordOf(1).State == record.Done })
	for _, r := range h.replicas {
		h.expect(r.send(1), gate.Replayed, `{"booked":true}`)
	}
	h.expectExecutions(1)
}

func TestAVerdictThatWasToldIsPutBack(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.MaxAttempts, o.Settle = 1, time.Second
	r := h.open(o)
	h.setLogic(func(context.Context, int64) (record.Result, error) { return record.Result{}, errLogic })
	h.expect(r.send(1), gate.Failed, "")
	h.expect(r.send(1), gate.Poisoned, "")
	stood := h.recordOf(1)
	redistest.Do(h, h.client, "FLUSHALL")
	h.expect(r.send(1), gate.Poisoned, "")
	if again := h.recordOf(1); fmt.Sprint(again) != fmt.Sprint(stood) {
		t.Errorf("put back as %+v, and it was %+v", again, stood)
	}
	h.expectExecutions(1)
}

func TestWithStopAnAttemptInDoubtIsExecutedOnlyWhereTheLogicAsks(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.StopInDoubt = true
		asking := o
		asking.Asks = true
		blind, asks := h.open(o), h.open(asking)
		fails := func(err error) {
			h.setLogic(func(context.Context, int64) (record.Result, error) { return record.Result{}, err })
		}
		fails(record.ErrOutcomeUnknown)
		h.expect(blind.send(1), gate.Failed, "")
		h.expect(blind.send(1), gate.Doubtful, "")
		h.expect(asks.send(1), gate.Doubtful, "") // a verdict stays, whatever the caller's logic can do
		h.expect(blind.Find(nil, h.request(1, "").Fingerprint), gate.Doubtful, "")
		h.expectExecutions(1)

		h.expect(asks.send(2), gate.Failed, "")
		fails(fmt.Errorf("no answer: %w: %w", record.ErrUnasked, record.ErrOutcomeUnknown))
		for range 3 {
			h.expect(asks.send(2), gate.Doubtful, "")
			h.expect(asks.Find(nil, h.request(2, "").Fingerprint), gate.Doubtful, "")
			if r := h.recordOf(2); r.Reason != "unasked" || r.Verdict != record.NoVerdict || !h.inDoubt.Load() {
				t.Errorf("%+v, told of a doubt: %v", r, h.inDoubt.Load())
			}
		}
		h.setLogic(returns(answer(`{"found":true}`)))
		h.expect(asks.send(2), gate.Executed, `{"found":true}`)
		h.expectExecutions(6)
		h.expectCounts(map[string]int64{"doubtful": 2, "unavailable": 2, "failed": 5, "stored": 1})
	})
}

// returns is logic that succeeds with a result.
func returns(r record.Result) func(context.Context, int64) (record.Result, error) {
	return func(context.Context, int64) (record.Result, error) { return r, nil }
}

func TestARefusalThatIsNotKeptIsToldToThoseWhoWait(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.RejectedTTL, o.MaxAttempts = 0, 1
		r := h.open(o)
		entered, release := make(chan struct{}, 1), make(chan struct{})
		refusal := record.Result{Status: 422, ContentType: record.JSON, Body: []byte(`"no such flight"`)}
		h.setLogic(func(context.Context, int64) (record.Result, error) {
			entered <- struct{}{}
			<-release
			return refusal, nil
		})
		first := r.later(1)
		<-entered
		waits := make(chan gate.Answer)
		for range 3 {
			go func() { waits <- r.Do(h.request(1, "body")) }()
		}
		early := h.request(1, "body") // a caller that joins behind them, and does not wait
		early.Arrived = early.Arrived.Add(-o.WaitTimeout)
		r.waits(4)
		h.expect(r.Do(early), gate.Processing, "")
		close(release)
		h.expect(<-first, gate.Executed, `"no such flight"`)
		for range 3 {
			a := <-waits
			h.expect(a, gate.Waited, `"no such flight"`)
			if a.Age > time.Minute {
				t.Errorf("its age is %v", a.Age)
			}
		}
		if kept := h.recordOf(1); kept.State != record.Failed || kept.Reason != "rejected" || kept.Doubt ||
			kept.Failures != 0 {
			t.Errorf("%+v stands", kept)
		}
		h.setLogic(returns(answer(`{"booked":true}`)))
		h.expect(r.send(1), gate.Executed, `{"booked":true}`) // the corrected body
		h.expectExecutions(2)
		h.expectCounts(map[string]int64{"executed": 2, "rejected": 1, "failed": 1, "stored": 1, "waited": 3})
	})
}

func TestLogicThatRefusedIsCertainWhateverEndedItsContext(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.ExecutionTimeout = 20 * time.Millisecond
		r := h.open(o)
		h.setLogic(func(ctx context.Context, _ int64) (record.Result, error) {
			<-ctx.Done()
			return record.Result{}, fmt.Errorf("before a byte was sent: %w", record.ErrRefused)
		})
		h.expect(r.send(1), gate.Refused, "")
		if stands := h.recordOf(1); stands.Reason != "refused" || stands.Doubt {
			t.Errorf("%+v", stands)
		}
	})
}

func TestAClaimThatIsWonTooLateToRunLeavesNoDoubt(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.RedisTimeout = 20 * time.Second // its claim must not be given up while it is held
	r := h.openBehindProxy(o)
	end := r.endable()
	r.proxy.Hold()
	first := r.later(1)
	h.eventually("it is claimed", func() bool { return h.recordOf(1).State == record.InProgress })
	closed := end()
	r.proxy.Mend()
	<-first
	<-closed // it says that executions were cancelled
	if stands := h.recordOf(1); stands.Reason != "unstarted" || stands.Doubt {
		t.Errorf("%+v", stands)
	}
	h.expectExecutions(0)
}
