package gate_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// impatient are options under which a Redis that is away is given up soon.
func impatient() gate.Options {
	o := options()
	o.RedisTimeout = time.Second
	o.RedisPatience = 3 * time.Second
	o.LockTTL = 4 * time.Second
	return o
}

func TestAnExpiredLeaseIsTakenOverAndTheLateStoreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := impatient()
		a, b := h.openBehindProxy(o), h.open(o)
		entered := make(chan int64, 10)
		release := make(chan struct{})
		h.setLogic(func(ctx context.Context, attempt int64) (record.Result, error) {
			entered <- attempt
			if attempt == 1 {
				<-release // it ignores its context
			}
			return answer(fmt.Sprintf(`{"attempt":%d}`, attempt)), nil
		})
		late := a.later(1)
		<-entered
		a.proxy.Cut()
		h.expect(b.send(1), gate.Executed, `{"attempt":2}`)
		a.proxy.Mend()
		h.eventually("it reaches redis again", func() bool { return a.Ready() == nil })
		close(release)
		h.expect(<-late, gate.Waited, `{"attempt":2}`)
		h.expect(b.send(1), gate.Replayed, `{"attempt":2}`)
		h.expectExecutions(2)
		h.expectSome(map[string]int64{"executed": 2, "takeovers": 1, "stored": 1, "lost_stores": 1})
	})
}

func TestAReplicaThatIsCutOffCancelsItsExecutionWhenItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := impatient()
	a := h.openBehindProxy(o)
	causes := make(chan error, 1)
	h.setLogic(func(ctx context.Context, _ int64) (record.Result, error) {
		start := time.Now()
		a.proxy.Cut()
		<-ctx.Done()
		if took := time.Since(start); took > 2*o.LockTTL {
			t.Errorf("cancelled after %v", took)
		}
		causes <- context.Cause(ctx)
		a.proxy.Mend()
		return record.Result{}, errLogic
	})
	a.send(1)
	if cause := <-causes; !errors.Is(cause, record.ErrLeaseLost) {
		t.Errorf("cancelled because of %v", cause)
	}
	h.eventually("the record has failed", func() bool { return h.recordOf(1).State == record.Failed })
	if r := h.recordOf(1); r.Reason != "lease-lost" {
		t.Errorf("record %+v", r)
	}
}

func TestALostLeaseIsNoticedAtTheNextRenewal(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.LockTTL = 2 * time.Second
		a := h.open(o)
		causes := make(chan error, 1)
		h.setLogic(func(ctx context.Context, _ int64) (record.Result, error) {
			r := h.recordOf(1)
			r.Attempt, r.Token = 2, "another"
			r.Deadline = time.Now().Add(time.Minute)
			redistest.Do(t, h.client, "SET", keys.Record(h.request(1, "").Fingerprint), string(record.Append(nil, r)))
			<-ctx.Done()
			causes <- context.Cause(ctx)
			done := record.Record{State: record.Done, Attempt: 2, Token: "another", Stored: time.Now(),
				Ends: time.Now().Add(time.Minute), Result: answer(`{"by":"another"}`)}
			redistest.Do(t, h.client, "SET", keys.Record(h.request(1, "").Fingerprint), string(record.Append(nil, done)))
			return answer(`{"by":"me"}`), nil
		})
		h.expect(a.send(1), gate.Waited, `{"by":"another"}`)
		if cause := <-causes; !errors.Is(cause, record.ErrLeaseLost) {
			t.Errorf("cancelled because of %v", cause)
		}
		h.expectSome(map[string]int64{"executed": 1, "lost_leases": 1, "lost_stores": 1})
	})
}

func TestAShortAbsenceOfRedisCostsTimeAndNoError(t *testing.T) {
	t.Parallel()
	absences := map[string]func(s *redistest.Server){
		"stopped": func(s *redistest.Server) { s.Pause(); time.Sleep(time.Second); s.Resume() },
		"killed":  func(s *redistest.Server) { s.Kill(); time.Sleep(time.Second); s.Restart() },
	}
	for name, absent := range absences {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := onReal(t)
			o := options()
			o.RedisTimeout = 500 * time.Millisecond
			o.Settle = 3 * time.Second // a killed one comes back without its data
			a, b := h.open(o), h.open(o)
			h.setLogic(func(context.Context, int64) (record.Result, error) {
				time.Sleep(50 * time.Millisecond)
				return answer(`{}`), nil
			})
			gone := make(chan struct{})
			go func() { absent(h.server); close(gone) }()
			answers := make(map[string]int)
			webhooks := 0
			for away := true; away; {
				webhooks++
				n := webhooks
				first, second := a.later(n), b.later(n)
				for _, answered := range []gate.Answer{<-first, <-second} {
					answers[outcomeOf(answered)]++
				}
				select {
				case <-gone:
					away = false
				default:
				}
			}
			if answers["executed"] != webhooks || answers["waited"]+answers["replayed"] != webhooks {
				t.Errorf("%d webhooks, sent to two replicas each, were answered %v", webhooks, answers)
			}
			h.expectExecutions(int64(webhooks))
		})
	}
}

func outcomeOf(a gate.Answer) string { return name(a.Outcome) }

func TestALongAbsenceOfRedisIs503AtOnceAndEndsWithIt(t *testing.T) {
	t.Parallel()
	absences := map[string]struct{ begin, end func(s *redistest.Server) }{
		"stopped": {(*redistest.Server).Pause, (*redistest.Server).Resume},
		"killed":  {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"full": {
			func(s *redistest.Server) { s.Config("maxmemory", "1") },
			func(s *redistest.Server) { s.Config("maxmemory", "0") },
		},
		"read-only": {
			func(s *redistest.Server) { s.Config("min-replicas-to-write", "1") },
			func(s *redistest.Server) { s.Config("min-replicas-to-write", "0") },
		},
	}
	for name, absence := range absences {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := onReal(t)
			r := h.open(impatient())
			h.expect(r.send(0), gate.Executed, `{"execution":1}`)
			absence.begin(h.server)

			h.expect(r.send(1), gate.Unavailable, "")
			start := time.Now()
			for n := 2; n < 12; n++ {
				h.expect(r.send(n), gate.Unavailable, "")
			}
			if took := time.Since(start); took > impatient().RedisPatience {
				t.Errorf("ten more took %v: they were not answered at once", took)
			}

			absence.end(h.server)
			start = time.Now()
			n := 12
			h.eventually("normal service", func() bool { n++; return r.send(n).Outcome == gate.Executed })
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("normal service came after %v", took)
			}
			for n := 1; n < 12; n++ { // none of the claims that were given up blocks its webhook
				if a := r.send(n); a.Outcome != gate.Executed {
					t.Errorf("webhook %d is then %s", n, outcomeOf(a))
				}
			}
		})
	}
}

func TestAFullRedisStillReplays(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	a, b := h.open(impatient()), h.open(impatient())
	a.send(1)
	h.server.Config("maxmemory", "1")
	h.expect(b.send(2), gate.Unavailable, "")
	h.expect(a.send(1), gate.Replayed, `{"execution":1}`)
	h.expect(b.send(1), gate.Replayed, `{"execution":1}`)
	h.server.Config("maxmemory", "0")
	h.expectSome(map[string]int64{"executed": 1, "replayed": 2, "unavailable": 1})
}

func TestAResultThatCannotBeStoredIsToldToNobodyUntilItIs(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.WaitTimeout, o.LockTTL = time.Minute, time.Minute
	o.RedisTimeout, o.RedisPatience = 4*time.Second, 4*time.Second
	r := h.open(o)
	h.setLogic(func(_ context.Context, attempt int64) (record.Result, error) {
		h.server.Pause()
		return answer(fmt.Sprintf(`{"attempt":%d}`, attempt)), nil
	})
	start := time.Now()
	first := r.later(1)
	h.expect(<-first, gate.Unavailable, "")
	if took := time.Since(start); took > o.WaitTimeout/2 {
		t.Errorf("let go after %v", took)
	}
	start = time.Now()
	for range 10 { // a caller that joins is answered at once, and does not wait for the next try to store
		h.expect(r.send(1), gate.Unavailable, "")
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("ten more after %v", took)
	}
	h.server.Resume()
	h.eventually("the result is replayed", func() bool { return r.send(1).Outcome == gate.Replayed })
	h.expectExecutions(1)
	h.expectSome(map[string]int64{"executed": 1, "stored": 1, "late_answers": 1})
}

func TestAStoreWhoseReplyIsLostIsAskedAgain(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openBehindProxy(impatient())
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		r.proxy.Mute()
		time.AfterFunc(250*time.Millisecond, r.proxy.Mend)
		return answer(`{}`), nil
	})
	h.expect(r.send(1), gate.Executed, `{}`)
	h.expectExecutions(1)
	h.expectSome(map[string]int64{"executed": 1, "stored": 1})
}

func TestAClaimWhoseReplyIsLostIsAskedAgainUnderItsToken(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openBehindProxy(impatient())
	r.proxy.Mute()
	time.AfterFunc(200*time.Millisecond, r.proxy.Mend)
	h.expect(r.send(1), gate.Executed, `{"execution":1}`)
	if rec := h.recordOf(1); rec.Attempt != 1 {
		t.Errorf("attempt %d", rec.Attempt)
	}
	h.expectSome(map[string]int64{"executed": 1, "stored": 1})
}

func TestAClaimWhoseReplyIsOlderThanASignalOfLossIsAskedAgain(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.RedisTimeout = 20 * time.Second // the reply is late, not lost
	a, b := h.openBehindProxy(o), h.open(o)
	a.proxy.Hold()
	late := a.later(1)
	h.eventually("redis has executed the claim", func() bool { return h.recordOf(1).State == record.InProgress })
	redistest.Do(t, h.client, "FLUSHALL")
	h.expect(b.send(1), gate.Executed, `{"execution":1}`)
	a.Invalidated(nil) // another connection reports the loss before the reply comes
	a.proxy.Mend()
	h.expect(<-late, gate.Replayed, `{"execution":1}`)
	h.expectExecutions(1)
}

func TestAStoreWhoseReplyIsOlderThanASignalOfLossIsAskedAgain(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.RedisTimeout = 20 * time.Second
	a, b := h.openBehindProxy(o), h.open(o)
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		a.proxy.Hold()
		return answer(`{}`), nil
	})
	late := a.later(1)
	h.eventually("redis has executed the store", func() bool { return h.recordOf(1).State == record.Done })
	redistest.Do(t, h.client, "FLUSHALL")
	a.Invalidated(nil)
	a.proxy.Mend()
	h.expect(<-late, gate.Executed, `{}`)
	h.expect(b.send(1), gate.Replayed, `{}`) // it was stored again before it was told
	h.expectExecutions(1)
}

func TestAReplayWhoseReplyIsLostIsCountedOnce(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	a, b := h.openBehindProxy(impatient()), h.open(impatient())
	b.send(1)
	a.proxy.Mute()
	time.AfterFunc(150*time.Millisecond, a.proxy.Mend)
	h.expect(a.send(1), gate.Replayed, `{"execution":1}`)
	h.expectCounts(map[string]int64{"total_requests": 2, "executed": 1, "replayed": 1})
}

func TestAClaimThatIsGivenUpDoesNotBlockItsWebhook(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := impatient()
	o.LockTTL = time.Minute // longer than the test waits
	a, b := h.openBehindProxy(o), h.open(o)
	a.proxy.Mute()
	h.expect(a.send(1), gate.Unavailable, "")
	if r := h.recordOf(1); r.State != record.InProgress {
		t.Fatalf("redis did not execute the claim: %+v", r)
	}
	a.proxy.Mend()
	h.expect(b.send(1), gate.Executed, `{"execution":1}`)
	if r := h.recordOf(1); r.Attempt != 2 {
		t.Errorf("attempt %d", r.Attempt)
	}
}

// TestAClaimThatIsGivenUpLeavesNoDoubtHoweverLongRedisIsAway: nobody executed it, and that must not be forgotten.
func TestAClaimThatIsGivenUpLeavesNoDoubtHoweverLongRedisIsAway(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := impatient()
	o.StopInDoubt, o.LockTTL = true, time.Second
	a, b := h.openBehindProxy(o), h.open(o)
	a.proxy.Mute()
	h.expect(a.send(1), gate.Unavailable, "")
	if r := h.recordOf(1); r.State != record.InProgress {
		t.Fatalf("redis did not execute the claim: %+v", r)
	}
	time.Sleep(2 * o.LockTTL)
	a.proxy.Mend()
	h.eventually("the claim is failed", func() bool { return h.recordOf(1).Reason == "unanswered" })
	h.expect(b.send(1), gate.Executed, `{"execution":1}`)
}

func TestFlushAllInTheMiddleRunsNothingTwice(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.Settle = 3 * time.Second
	a, b := h.open(o), h.open(o)
	entered, release := h.blocked()
	first := a.later(1)
	<-entered
	redistest.Do(t, h.client, "FLUSHALL")
	second := b.later(1)
	h.eventually("the running execution is put back", func() bool { return h.recordOf(1).State == record.InProgress })
	h.eventually("redis has settled", func() bool { return h.metrics()["restored"] == 1 })
	close(release)
	h.expect(<-first, gate.Executed, `{"attempt":1}`)
	if a := <-second; string(a.Result.Body) != `{"attempt":1}` {
		t.Errorf("the second gets %s %s", name(a.Outcome), a.Result.Body)
	}
	h.expectExecutions(1)
}

func TestARestartOfRedisWithoutItsDataRunsNothingTwice(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.Settle = 3 * time.Second
	a, b := h.open(o), h.open(o)
	entered, release := h.blocked()
	first := a.later(1)
	<-entered
	h.server.Kill()
	h.server.Restart()
	h.client = redistest.Client(t, h.server.Addr())
	second := b.later(1)
	h.eventually("the running execution is put back", func() bool { return h.recordOf(1).State == record.InProgress })
	close(release)
	h.expect(<-first, gate.Executed, `{"attempt":1}`)
	if a := <-second; string(a.Result.Body) != `{"attempt":1}` {
		t.Errorf("the second gets %s %s", name(a.Outcome), a.Result.Body)
	}
	h.expectExecutions(1)
}

func TestWhileRedisSettlesNothingNewIsDecided(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.Settle = time.Second
	r := h.open(o)
	h.expect(r.send(1), gate.Executed, `{"execution":1}`)
	scripts := func() int { return calls(redistest.Do(t, h.client, "INFO", "commandstats"), "evalsha") }
	redistest.Do(t, h.client, "FLUSHALL")
	before, start := scripts(), time.Now()
	h.expect(r.send(2), gate.Executed, `{"execution":2}`)
	if n := scripts() - before; n > 200 { // counters and probes, and a few claims
		t.Errorf("%d calls of the script: it was asked without a pause", n)
	}
	if took := time.Since(start); took < o.Settle-50*time.Millisecond || took > 10*o.Settle {
		t.Errorf("it was decided after %v", took)
	}
}

func TestAfterASignalOfLossTheCacheIsNotTrustedUntilAClaimIsAnswered(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openBehindProxy(options())
	r.send(1)
	h.eventually("it is answered locally", func() bool { r.send(1); return h.metrics()["replayed_local"] > 0 })
	r.Invalidated(nil) // as a lost connection does
	if _, ok := r.Replay(h.request(1, "body")); ok {
		t.Error("the cache was trusted after a signal")
	}
	h.expect(r.send(1), gate.Replayed, `{"execution":1}`) // by a claim
	h.eventually("the cache is trusted again", func() bool {
		_, ok := r.Replay(h.request(1, "body"))
		return ok
	})
}

func TestAHeartbeatNoticesAHistoryThatAProxyHides(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.Settle, o.LockTTL = 4*time.Second, time.Minute // the next renewal would come too late
	r := h.open(o)
	entered, release := h.blocked()
	first := r.later(1)
	<-entered
	// To the connection a failover behind a proxy looks like this: the same server, another history, older data.
	redistest.Do(t, h.client, "DEBUG", "CHANGE-REPL-ID")
	redistest.Do(t, h.client, "DEL", keys.Record(h.request(1, "").Fingerprint))
	start := time.Now()
	h.eventually("the record is put back", func() bool { return h.recordOf(1).State == record.InProgress })
	if took := time.Since(start); took > o.Settle {
		t.Errorf("put back after %v, when others may have claimed", took)
	}
	close(release)
	h.expect(<-first, gate.Executed, `{"attempt":1}`)
}
