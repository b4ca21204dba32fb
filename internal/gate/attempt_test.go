package gate_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

func TestTheNextAttemptIsToldOfDoubtAndOfNothingElse(t *testing.T) {
	unknown := fmt.Errorf("cut: %w", record.ErrOutcomeUnknown)
	both := fmt.Errorf("%w: %w", record.ErrRefused, record.ErrOutcomeUnknown)
	logic := map[string]struct {
		err     error
		reason  string
		inDoubt bool
		outcome gate.Outcome
	}{
		"it failed for certain":         {errLogic, "error", false, gate.Failed},
		"it did nothing":                {fmt.Errorf("busy: %w", record.ErrRefused), "refused", false, gate.Refused},
		"its outcome is unknown":        {unknown, "unknown", true, gate.Failed},
		"it did nothing, amid a doubt":  {both, "unknown", true, gate.Refused},
		"it was cancelled for its time": {context.DeadlineExceeded, "error", false, gate.Failed},
	}
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(options()), h.open(options())
		n := 0
		for name, c := range logic {
			n++
			h.setLogic(func(_ context.Context, attempt int64) (record.Result, error) {
				if attempt == 1 {
					return record.Result{}, c.err
				}
				return answer(`{}`), nil
			})
			h.expect(a.send(n), c.outcome, "")
			if h.inDoubt.Load() {
				t.Errorf("%s: the first attempt is told of a doubt", name)
			}
			if r := h.recordOf(n); r.Reason != c.reason {
				t.Errorf("%s: it left the reason %q, want %q", name, r.Reason, c.reason)
			}
			h.expect(b.send(n), gate.Executed, `{}`)
			if h.inDoubt.Load() != c.inDoubt {
				t.Errorf("%s: the next attempt is told of a doubt: %v", name, h.inDoubt.Load())
			}
		}
	})
}

func TestDoubtSticksUntilAnAttemptSucceeds(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		for attempt, c := range []struct {
			err     error
			inDoubt bool
		}{{record.ErrOutcomeUnknown, false}, {errLogic, true}, {record.ErrRefused, true}, {nil, true}} {
			h.setLogic(func(context.Context, int64) (record.Result, error) { return answer(`{}`), c.err })
			r.send(1)
			if h.inDoubt.Load() != c.inDoubt {
				t.Errorf("attempt %d is told of a doubt: %v", attempt+1, h.inDoubt.Load())
			}
		}
		h.expectExecutions(4)
	})
}

func TestATakeoverIsInDoubtAndAForgottenWebhookIsNot(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		crashed := record.Record{State: record.InProgress, Attempt: 1, Token: "crashed", Lease: time.Second,
			Started: time.Now()}
		crashed.Deadline = time.Now().Add(-time.Second)
		forgotten := record.Record{State: record.Failed, Attempt: 2, Token: record.Person, FailedAt: time.Now(),
			Reason: "forgotten"}
		unanswered := record.Record{State: record.Failed, Attempt: 1, Token: "lost", FailedAt: time.Now(),
			Reason: "unanswered"}
		for n, c := range []struct {
			stands  record.Record
			inDoubt bool
		}{{crashed, true}, {forgotten, false}, {unanswered, false}} {
			h.record(n, c.stands)
			if a := r.send(n); a.Outcome != gate.Executed || h.inDoubt.Load() != c.inDoubt {
				t.Errorf("after %+v: %s, told of a doubt: %v", c.stands, name(a.Outcome), h.inDoubt.Load())
			}
		}
	})
}

func TestAnAttemptWhoseClaimHadNoReplyIsInDoubt(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openBehindProxy(options())
	h.record(1, record.Record{
		State: record.InProgress, Attempt: 1, Token: "crashed", Lease: time.Second, Started: time.Now(),
		Deadline: time.Now().Add(-time.Second)})
	r.proxy.Mute()
	first := r.later(1)
	h.eventually("it is claimed", func() bool { return h.recordOf(1).Attempt == 2 })
	r.proxy.Mend()
	h.expect(<-first, gate.Executed, `{"execution":1}`)
	if !h.inDoubt.Load() {
		t.Error("it is not told of a doubt, although a crashed attempt came before it")
	}
}

func TestWhileNothingIsAdmittedReplaysGoOn(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		var closed atomic.Bool
		o := options()
		o.Admit = func() (time.Duration, bool) { return 90 * time.Second, !closed.Load() }
		a, b := h.open(o), h.open(options())
		h.expect(a.send(1), gate.Executed, `{"execution":1}`)
		closed.Store(true)
		h.expect(a.send(1), gate.Replayed, `{"execution":1}`)
		turnedAway := a.send(2)
		h.expect(turnedAway, gate.Refused, "")
		if turnedAway.RetryAfter != 90*time.Second {
			t.Errorf("it is told to come again after %v", turnedAway.RetryAfter)
		}
		if r := h.recordOf(2); r.State != 0 {
			t.Errorf("what was refused left %+v", r)
		}
		entered, release := h.blocked()
		running := b.later(3)
		<-entered
		waits := a.later(3)
		a.waits(1)
		close(release)
		h.expect(<-running, gate.Executed, `{"attempt":1}`)
		if got := <-waits; got.Outcome != gate.Waited && got.Outcome != gate.Replayed ||
			string(got.Result.Body) != `{"attempt":1}` {
			t.Errorf("who waits for another replica gets %s %s", name(got.Outcome), got.Result.Body)
		}
		closed.Store(false)
		h.setLogic(func(context.Context, int64) (record.Result, error) { return answer(`{}`), nil })
		h.expect(a.send(2), gate.Executed, `{}`)
		h.expectCounts(map[string]int64{"total_requests": 6, "executed": 3, "unavailable": 1, "refused": 1})
	})
}

func TestARefusalLivesForItsOwnTTL(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		refusal := record.Result{Status: 409, ContentType: record.JSON,
			Headers: []record.Header{{Name: "Location", Value: "/7"}}, Body: []byte(`{"sold":"out"}`)}
		h.setLogic(func(context.Context, int64) (record.Result, error) { return refusal, nil })
		first, again := r.send(1), r.send(1)
		h.expect(first, gate.Executed, `{"sold":"out"}`)
		h.expect(again, gate.Replayed, `{"sold":"out"}`)
		for _, a := range []gate.Answer{first, again} {
			if fmt.Sprint(a.Result) != fmt.Sprint(refusal) {
				t.Errorf("answered %+v", a.Result)
			}
		}
		h.expectCounts(map[string]int64{"stored": 1, "rejected": 1})
		if s := h.recordOf(1); s.Ends.Sub(s.Stored) != 10*time.Second {
			t.Errorf("it ends %v after it was stored", s.Ends.Sub(s.Stored))
		}
	})
}

// Its replica keeps it too, without Redis telling of its end.
func TestARefusalIsNotReplayedPastItsEnd(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	redistest.Do(t, h.client, "DEBUG", "SET-ACTIVE-EXPIRE", "0")
	o := options()
	o.RejectedTTL = time.Second
	r := h.open(o)
	h.eventually("results are answered locally", func() bool { r.send(0); return h.metrics()["replayed_local"] > 0 })
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		return record.Result{Status: 409, ContentType: record.JSON, Body: []byte(`{}`)}, nil
	})
	h.expect(r.send(1), gate.Executed, `{}`)
	time.Sleep(o.RejectedTTL + 2*time.Second) // by Redis' clock as this replica knows it, too
	h.expect(r.send(1), gate.Executed, `{}`)
}

func TestAResultThatCannotBeKeptIsAFailure(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		for n, result := range []record.Result{
			{Status: 302, ContentType: record.JSON}, {Status: 500, ContentType: record.JSON}, {Status: 200},
			{Status: 200, ContentType: "a\nb", Headers: []record.Header{{Name: "X", Value: "a\nb"}}},
			{Status: 200, ContentType: "a", Headers: []record.Header{{Name: "X", Value: string(make([]byte, 5000))}}},
			{Status: 200, ContentType: "a", Headers: []record.Header{{Name: "X: Y", Value: "z"}}},
		} {
			h.setLogic(func(context.Context, int64) (record.Result, error) { return result, nil })
			h.expect(r.send(n), gate.Failed, "")
		}
	})
}

func TestAReconciledResultIsCounted(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		h.setLogic(func(context.Context, int64) (record.Result, error) {
			a := answer(`{}`)
			a.Reconciled = true
			return a, nil
		})
		h.expect(r.send(1), gate.Executed, `{}`)
		h.expectCounts(map[string]int64{"executed": 1, "stored": 1, "reconciled": 1})
	})
}

func rejecting() gate.Options {
	o := options()
	o.RejectMismatch = true
	return o
}

func TestAnotherBodyIsRefusedWhereThatIsSet(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(rejecting()), h.open(rejecting())
		h.expect(a.sendBody(1, "one"), gate.Executed, `{"execution":1}`)
		for _, r := range []*replica{a, b, a, b} {
			h.expect(r.sendBody(1, "two"), gate.Mismatched, "")
			h.expect(r.sendBody(1, "one"), gate.Replayed, `{"execution":1}`)
		}
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": 9, "duplicates": 8, "mismatches": 4, "replayed": 8})
	})
}

func TestAnotherBodyIsRefusedWhileTheFirstOneRuns(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(rejecting()), h.open(rejecting())
		entered, release := h.blocked()
		first := a.laterBody(1, "one")
		<-entered
		for _, r := range []*replica{a, b, a, b} { // at once: the first one still runs
			h.expect(r.sendBody(1, "two"), gate.Mismatched, "")
		}
		same := b.laterBody(1, "one")
		h.eventually("it is counted", func() bool { return h.metrics()["mismatches"] == 4 })
		close(release)
		h.expect(<-first, gate.Executed, `{"attempt":1}`)
		if got := <-same; string(got.Result.Body) != `{"attempt":1}` {
			t.Errorf("the same body gets %s %s", name(got.Outcome), got.Result.Body)
		}
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": 6, "executed": 1, "duplicates": 5, "mismatches": 4})
	})
}

func TestWhoseBodyRunsIsKnownAfterALossToo(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	a, b := h.open(rejecting()), h.open(rejecting())
	entered, release := h.blocked()
	first := a.laterBody(1, "one")
	<-entered
	redistest.Do(h, h.client, "FLUSHALL")
	h.eventually("it is put back", func() bool { return h.recordOf(1).State == record.InProgress })
	h.expect(b.sendBody(1, "two"), gate.Mismatched, "")
	if r := h.recordOf(1); r.Digest != digestOf("one") {
		t.Errorf("it was put back with the digest %x", r.Digest)
	}
	close(release)
	h.expect(<-first, gate.Executed, `{"attempt":1}`)
	h.expectExecutions(1)
}

func TestAnotherBodyIsRefusedAfterATakeoverToo(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(rejecting())
	crashed := record.Record{State: record.InProgress, Attempt: 1, Token: "crashed", Digest: digestOf("one"),
		Deadline: time.Now().Add(time.Second), Lease: time.Second, Started: time.Now()}
	h.record(1, crashed)
	h.expect(r.sendBody(1, "two"), gate.Mismatched, "")
	h.expect(r.sendBody(1, "one"), gate.Executed, `{"execution":1}`)
	h.expect(r.sendBody(1, "two"), gate.Mismatched, "")
}

func TestABodyThatWasRefusedIsNotExecuted(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(rejecting())
	for n := range 10 {
		// The first attempt failed for certain while these came: some are told about its body, one is executed. No caller
		// gets both.
		running := record.Record{State: record.InProgress, Attempt: 1, Token: "other", Digest: digestOf("one"),
			Deadline: time.Now().Add(time.Minute), Lease: time.Minute, Started: time.Now()}
		h.record(n, running)
		var executed, refused sync.Map
		var callers sync.WaitGroup
		var id, ran atomic.Int64
		for range 32 {
			callers.Go(func() {
				for ran.Load() == 0 {
					i := id.Add(1)
					w := h.request(n, "two")
					w.Source = executes(func(context.Context, int64, bool) (record.Result, error) {
						ran.Add(1)
						executed.Store(i, true)
						return answer(`{}`), nil
					})
					if r.Do(w).Outcome == gate.Mismatched {
						refused.Store(i, true)
					}
				}
			})
		}
		h.eventually("some are refused", func() bool { return id.Load() > 64 })
		failed := record.Record{State: record.Failed, Attempt: 1, Token: "other", FailedAt: time.Now(), Reason: "error"}
		h.record(n, failed)
		callers.Wait()
		executed.Range(func(i, _ any) bool {
			if _, told := refused.Load(i); told {
				t.Errorf("webhook %d was executed for caller %d, who was told 422", n, i)
			}
			return true
		})
	}
}

func TestWhoLostItsLeaseToAnotherBodyIsNotGivenItsResult(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(rejecting())
	entered, release := h.blocked()
	defer close(release)
	first := r.laterBody(1, "one")
	<-entered
	other := record.Record{State: record.Done, Attempt: 2, Token: "other", Digest: digestOf("two"), Stored: time.Now(),
		Ends: time.Now().Add(time.Minute), Result: answer(`{"of":"two"}`)}
	h.record(1, other)
	h.expect(<-first, gate.Mismatched, "")
	h.expectSome(map[string]int64{"total_requests": 1, "executed": 1, "mismatches": 1, "replayed": 0})
}

func TestAnAttemptInDoubtIsNotGoneOnWithAnotherBody(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(rejecting()), h.open(rejecting())
		h.setLogic(func(_ context.Context, attempt int64) (record.Result, error) {
			if attempt == 1 {
				return record.Result{}, record.ErrOutcomeUnknown
			}
			return answer(`{"of":"one"}`), nil
		})
		h.expect(a.sendBody(1, "one"), gate.Failed, "")
		h.expect(a.sendBody(1, "two"), gate.Mismatched, "")
		h.expect(b.sendBody(1, "two"), gate.Mismatched, "")
		h.expect(b.sendBody(1, "one"), gate.Executed, `{"of":"one"}`)
		h.expectExecutions(2)
		h.expectCounts(map[string]int64{"total_requests": 4, "executed": 2, "mismatches": 2})
	})
}

func TestARecordThatCannotBeReadIsNotAskedForWithoutAPause(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.WaitTimeout = time.Second
	r := h.open(o)
	before := h.calls()
	h.setValue(1, "P1 1 tok J5M7wq12-hi4nBTZlZPAAw 99999999999999 99999999999999999 1 0 0 -\n")
	h.expect(r.send(1), gate.Foreign, "")
	if calls := h.calls() - before; calls > 100 {
		t.Errorf("the script was called %d times", calls)
	}
}

func TestWhatBecameOfAWebhookIsFoundAndNotCounted(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(options()), h.open(options())
		find := func(r *replica, n int) gate.Answer { return r.Find(nil, h.request(n, "").Fingerprint) }
		h.expect(find(a, 1), gate.Missing, "")
		entered, release := h.blocked()
		first := a.later(1)
		<-entered
		h.expect(find(a, 1), gate.Processing, "")
		h.expect(find(b, 1), gate.Processing, "")
		close(release)
		<-first
		for range 2 {
			h.expect(find(a, 1), gate.Replayed, `{"attempt":1}`)
			h.expect(find(b, 1), gate.Replayed, `{"attempt":1}`)
		}
		h.setLogic(func(context.Context, int64) (record.Result, error) { return record.Result{}, errLogic })
		a.send(2)
		h.expect(find(b, 2), gate.Failed, "")
		for n, c := range map[int]struct {
			value string
			want  gate.Outcome
		}{
			3: {string(record.Append(nil, record.Record{State: record.InProgress, Attempt: 1, Token: "t", Lease: 1,
				Started: time.Now(), Deadline: time.Now().Add(-time.Second)})), gate.Failed},
			4: {string(record.Append(nil, record.Record{State: record.Failed, Attempt: 1, Token: record.Person,
				FailedAt: time.Now(), Reason: "forgotten"})), gate.Missing},
			5: {"rubbish", gate.Foreign},
		} {
			h.setValue(n, c.value)
			h.expect(find(a, n), c.want, "")
		}
		h.expectExecutions(2)
		h.expectCounts(map[string]int64{"total_requests": 2, "executed": 2, "duplicates": 0})
	})
}
