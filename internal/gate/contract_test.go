package gate_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/scripts"
)

func TestADuplicateGetsTheFirstOnesAnswerOnEveryReplica(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(options()), h.open(options())
		h.expect(a.send(1), gate.Executed, `{"execution":1}`)
		h.expect(a.send(1), gate.Replayed, `{"execution":1}`)
		h.expect(b.send(1), gate.Replayed, `{"execution":1}`)
		h.expect(b.send(2), gate.Executed, `{"execution":2}`)
		h.expectExecutions(2)
		h.expectCounts(map[string]int64{"total_requests": 4, "executed": 2, "stored": 2, "replayed": 2})
	})
}

func TestARetryStormExecutesOnce(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		for range 3 {
			h.open(options())
		}
		h.setLogic(func(context.Context, int64) (record.Result, error) {
			time.Sleep(100 * time.Millisecond) // the storm comes meanwhile
			return answer(`{"booked":true}`), nil
		})
		const storm = 500
		counted := outcomes(h.all(storm, 1))
		if counted[`executed {"booked":true}`] != 1 || counted[`executed {"booked":true}`]+counted[`waited {"booked":true}`]+
			counted[`replayed {"booked":true}`] != storm {
			t.Errorf("answers %v", counted)
		}
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": storm, "executed": 1, "stored": 1, "duplicates": storm - 1})
	})
}

func TestAWaitingReplicaIsWokenByTheResultNotByAPoll(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	a, b := h.open(options()), h.open(options())
	gets := func() string { return redistest.Do(t, h.client, "INFO", "commandstats") }
	var woken time.Duration
	const most = 5 // tries: one may fall into a moment in which the machine is busy
	for n := int64(1); n <= most; n++ {
		entered, release := h.blocked()
		first := a.later(int(n))
		<-entered
		looks := calls(gets(), "client|caching")
		second := b.later(int(n))
		h.eventually("the second waits", func() bool { return calls(gets(), "client|caching") > looks })
		before := calls(gets(), "evalsha") + calls(gets(), "get")
		time.Sleep(300 * time.Millisecond) // long against a poll, short against a renewal
		idle := calls(gets(), "evalsha") + calls(gets(), "get") - before
		start := time.Now()
		close(release)
		h.expect(<-second, gate.Waited, `{"attempt":1}`)
		woken = time.Since(start)
		h.expect(<-first, gate.Executed, `{"attempt":1}`)
		if idle > 2 { // flushes of counters, at most
			t.Errorf("%d look-ups while nothing happened", idle)
		}
		h.expectCounts(map[string]int64{"executed": n, "waited": n})
		if woken < time.Second {
			return
		}
	}
	t.Errorf("%d times it was not woken at once, but after %v", most, woken)
}

// calls reads a command's count from INFO commandstats.
func calls(stats, command string) (n int) {
	for line := range lines(stats) {
		if _, err := fmt.Sscanf(line, "cmdstat_"+command+":calls=%d,", &n); err == nil {
			return n
		}
	}
	return 0
}

func TestReplaysOfAStormCostNoRoundTrip(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	r.send(1)
	r.send(1) // fetches the record into the cache
	h.eventually("it is answered locally", func() bool {
		r.send(1)
		return h.metrics()["replayed_local"] > 0
	})
	before := redistest.Do(t, h.client, "INFO", "commandstats")
	for range 1000 {
		h.expect(r.send(1), gate.Replayed, `{"execution":1}`)
	}
	after := redistest.Do(t, h.client, "INFO", "commandstats")
	if n := calls(after, "get") - calls(before, "get"); n > 100 { // one a flush, by the script
		t.Errorf("1000 replays cost %d GETs", n)
	}
	h.expectCounts(map[string]int64{"executed": 1})
}

func TestFailedLogicLeavesTheWebhookRetryable(t *testing.T) {
	failures := map[string]func(ctx context.Context) (record.Result, error){
		"an error":         func(context.Context) (record.Result, error) { return record.Result{}, errLogic },
		"a panic":          func(context.Context) (record.Result, error) { panic("the logic panics") },
		"an exit":          func(context.Context) (record.Result, error) { runtime.Goexit(); return record.Result{}, nil },
		"too large result": func(context.Context) (record.Result, error) { return answer(string(make([]byte, 2<<20))), nil },
		"a timeout": func(ctx context.Context) (record.Result, error) {
			<-ctx.Done()
			return record.Result{}, context.Cause(ctx)
		},
	}
	reasons := map[string]string{"an error": "error", "a panic": "panic", "an exit": "exited",
		"too large result": "too-large", "a timeout": "timeout"}
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.ExecutionTimeout = 100 * time.Millisecond
		a, b, hasty := h.open(options()), h.open(options()), h.open(o)
		n := 0
		for name, fail := range failures {
			n++
			h.setLogic(func(ctx context.Context, attempt int64) (record.Result, error) {
				if attempt == 1 {
					return fail(ctx)
				}
				return answer(fmt.Sprintf(`{"attempt":%d}`, attempt)), nil
			})
			by := a
			if name == "a timeout" {
				by = hasty
			}
			h.expect(by.send(n), gate.Failed, "")
			if r := h.recordOf(n); r.State != record.Failed || r.Attempt != 1 || r.Reason != reasons[name] {
				t.Errorf("%s left %+v", name, r)
			}
			h.expect(b.send(n), gate.Executed, `{"attempt":2}`)
			h.expect(a.send(n), gate.Replayed, `{"attempt":2}`)
		}
		c := int64(n)
		h.expectCounts(map[string]int64{"total_requests": 3 * c, "executed": 2 * c, "failed": c, "stored": c, "replayed": c})
	})
}

func TestAllWhoWaitForAFailureAreTold(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		go0 := make(chan struct{})
		h.setLogic(func(context.Context, int64) (record.Result, error) { <-go0; return record.Result{}, errLogic })
		first, second := r.later(1), r.later(1)
		h.eventually("it runs", func() bool { return h.executions.Load() == 1 })
		r.waits(2)
		close(go0)
		h.expect(<-first, gate.Failed, "")
		h.expect(<-second, gate.Failed, "")
		h.expectCounts(map[string]int64{"total_requests": 2, "failed": h.executions.Load()})
	})
}

func TestALeaseIsRenewedWhileTheLogicRuns(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.LockTTL = 3 * time.Second
		a, b := h.open(o), h.open(o)
		entered, release := h.blocked()
		first := a.later(1)
		<-entered
		started := h.recordOf(1).Started
		second := b.later(1)
		time.Sleep(2 * o.LockTTL) // the test shows that nothing happens for that long
		close(release)
		h.expect(<-first, gate.Executed, `{"attempt":1}`)
		h.expect(<-second, gate.Waited, `{"attempt":1}`)
		if s := h.recordOf(1); s.Stored.Sub(started) < 2*o.LockTTL {
			t.Errorf("stored %v after it started", s.Stored.Sub(started))
		}
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": 2, "executed": 1, "waited": 1})
	})
}

func TestACallerIsAnsweredInTimeAndItsExecutionGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.WaitTimeout = 2 * time.Second
		a, b := h.open(o), h.open(o)
		entered, release := h.blocked()
		first, joined, elsewhere := a.later(1), a.later(1), b.later(1)
		<-entered
		for _, answered := range []<-chan gate.Answer{first, joined, elsewhere} {
			got := <-answered
			h.expect(got, gate.Processing, "")
		}
		close(release)
		h.eventually("the result is stored", func() bool { return h.recordOf(1).State == record.Done })
		h.expect(h.open(o).send(1), gate.Replayed, `{"attempt":1}`)
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": 4, "executed": 1, "late_answers": 1, "still_processing": 2,
			"replayed": 1})
	})
}

func TestWaitTimeoutCountsFromTheArrival(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		_, release := h.blocked()
		defer close(release)
		w := h.request(1, "body")
		w.Arrived = time.Now().Add(-options().WaitTimeout) // the look into the cache took all of it
		start := time.Now()
		h.expect(r.Do(w), gate.Unavailable, "") // no claim has said that somebody executes it
		if took := time.Since(start); took > options().WaitTimeout/2 {
			t.Errorf("answered %v later", took)
		}
	})
}

func TestADuplicateWithAnotherBodyIsCounted(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(options()), h.open(options())
		a.sendBody(1, "one")
		a.sendBody(1, "two")
		b.sendBody(1, "two")
		b.sendBody(1, "one")
		b.sendBody(1, "three")
		h.expectCounts(map[string]int64{"total_requests": 5, "executed": 1, "mismatches": 3})
	})
}

// forget does what `oncegate forget` does.
func (h *testbed) forget(n int, force bool) scripts.Verdict {
	h.Helper()
	call := scripts.Call{
		Metrics: keys.Metrics(), Flushed: keys.Buckets()[0].Flush("test"), Lease: time.Second,
		Classes: []scripts.Class{{TTL: time.Minute}},
		Ops: []scripts.Op{
			scripts.Forget(keys.Record(h.request(n, "").Fingerprint), force), scripts.Announce(keys.Buckets()[0].Forgets()),
		},
	}
	reply, err := call.Run(context.Background(), h.client)
	if err != nil {
		h.Fatalf("forget: %v", err)
	}
	return reply.Answers[0].Verdict
}

func TestWhatAPersonHadForgottenExecutesAgainOnEveryReplica(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		for range 3 {
			h.open(options())
		}
		for _, r := range h.replicas { // all have it cached
			r.send(1)
			r.send(1)
		}
		if v := h.forget(1, false); v != scripts.Forgotten {
			t.Fatalf("forget: %s", v)
		}
		h.eventually("a replica executes again", func() bool {
			return string(h.replicas[2].send(1).Result.Body) == `{"execution":2}`
		})
		for _, r := range h.replicas {
			h.eventually("all replicas have the new result", func() bool {
				return string(r.send(1).Result.Body) == `{"execution":2}`
			})
		}
		h.expectExecutions(2)
		h.expectCounts(map[string]int64{"executed": 2, "stored": 2})
	})
}

func TestForcedForgetOfARunningExecutionDropsItsResult(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.LockTTL = 2 * time.Second // the owner meets the forgotten record at its next renewal
		a, b := h.open(o), h.open(o)
		entered, release := h.blocked()
		first := a.later(1)
		<-entered
		if v := h.forget(1, false); v != scripts.Running {
			t.Fatalf("forget without force: %s", v)
		}
		if v := h.forget(1, true); v != scripts.Forgotten {
			t.Fatalf("forget: %s", v)
		}
		h.expect(<-first, gate.Processing, "") // and is not run again by itself
		h.expectExecutions(1)
		close(release)
		h.expect(b.send(1), gate.Executed, `{"attempt":3}`)
		h.expectCounts(map[string]int64{"executed": 2, "lost_stores": 1, "lost_leases": 1, "stored": 1})
	})
}

func TestWhoWaitsElsewhereForWhatIsForgottenIsNotRunByItself(t *testing.T) {
	t.Parallel()
	h := onReal(t) // it takes tracking to see that
	a, b := h.open(options()), h.open(options())
	entered, release := h.blocked()
	first := a.later(1)
	<-entered
	looks := func() int { return calls(redistest.Do(t, h.client, "INFO", "commandstats"), "client|caching") }
	atStart := looks()
	elsewhere := b.later(1)
	h.eventually("it waits elsewhere", func() bool { return looks() > atStart })
	h.forget(1, true)
	h.expect(<-elsewhere, gate.Processing, "")
	h.expectExecutions(1)
	close(release)
	h.expect(<-first, gate.Processing, "")
	h.expectCounts(map[string]int64{"executed": 1, "lost_stores": 1, "still_processing": 1, "late_answers": 1})
}

func TestForeignValuesAreLeftAsTheyAre(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		for n, set := range map[int][]string{1: {"SET", "rubbish"}, 2: {"LPUSH", "a list"}, 3: {"SET", "D1 x\n"}} {
			key := keys.Record(h.request(n, "").Fingerprint)
			redistest.Do(t, h.client, set[0], key, set[1])
			h.expect(r.send(n), gate.Foreign, "")
			h.expect(r.send(n), gate.Foreign, "")
		}
		if got := redistest.Do(t, h.client, "GET", keys.Record(h.request(1, "").Fingerprint)); got != "rubbish" {
			t.Errorf("it is now %q", got)
		}
		h.expectExecutions(0)
		h.expectCounts(map[string]int64{"total_requests": 6, "unavailable": 6})
	})
}

func TestAForeignValueUnderARunningExecutionIsNotOverwritten(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		key := keys.Record(h.request(1, "").Fingerprint)
		h.setLogic(func(context.Context, int64) (record.Result, error) {
			redistest.Do(t, h.client, "SET", key, "rubbish")
			return answer(`{}`), nil
		})
		h.expect(r.send(1), gate.Foreign, "")
		if got := redistest.Do(t, h.client, "GET", key); got != "rubbish" {
			t.Errorf("it is now %q", got)
		}
		h.expectCounts(map[string]int64{"executed": 1, "lost_stores": 1})
	})
}

func TestScriptFlushIsNotNoticed(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		h.expect(r.send(1), gate.Executed, `{"execution":1}`)
		redistest.Do(t, h.client, "SCRIPT", "FLUSH")
		h.expect(r.send(2), gate.Executed, `{"execution":2}`)
		h.expectCounts(map[string]int64{"executed": 2, "stored": 2})
	})
}

func TestAResultEndsWithItsTTLAlsoWhereRedisTellsItLate(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	redistest.Do(t, h.client, "DEBUG", "SET-ACTIVE-EXPIRE", "0") // nobody hears that a record has expired
	o := options()
	o.ResultTTL = 2 * time.Second
	o.LockTTL = time.Second
	a, b := h.open(o), h.open(o)
	a.send(1)
	for _, r := range h.replicas {
		h.eventually("it is cached", func() bool {
			r.send(1)
			return calls(redistest.Do(t, h.client, "INFO", "commandstats"), "client|caching") > 0
		})
	}
	before := h.executions.Load()
	time.Sleep(o.ResultTTL)
	h.eventually("it has ended", func() bool { return b.send(1).Outcome == gate.Executed })
	again := fmt.Sprintf(`{"execution":%d}`, before+1)
	h.eventually("it has ended elsewhere, too", func() bool { return string(a.send(1).Result.Body) == again })
	h.expectExecutions(before + 1)
}

func TestACallerWhoLeavesWhileItsClaimIsUnderWayIsCountedAsWhatTheClaimFinds(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.WaitTimeout = 100 * time.Millisecond
	o.RedisTimeout = 5 * time.Second
	a, b := h.openBehindProxy(o), h.open(options())
	a.proxy.Hold()
	h.expect(a.send(1), gate.Unavailable, "") // it will have executed
	a.proxy.Mend()
	h.eventually("the result is stored", func() bool { return h.recordOf(1).State == record.Done })
	b.send(2)
	a.proxy.Hold()
	h.expect(a.send(2), gate.Unavailable, "") // it will have been replayed
	a.proxy.Mend()
	h.expectCounts(map[string]int64{"total_requests": 3, "executed": 2, "late_answers": 1, "replayed": 1, "duplicates": 1})
}

func TestACloseLetsExecutionsFinishAndFlushesCounters(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.MetricsFlush = time.Hour // so that only the close can flush
		r := h.open(o)
		entered, release := h.blocked()
		first := r.later(1)
		<-entered
		closed := make(chan error, 1)
		go func() { closed <- r.Close(context.Background()) }()
		h.setLogic(func(context.Context, int64) (record.Result, error) { return answer(`{}`), nil })
		n := 1
		h.eventually("nothing new is taken", func() bool { n++; return r.send(n).Outcome == gate.Unavailable })
		close(release)
		h.expect(<-first, gate.Executed, `{"attempt":1}`)
		if err := <-closed; err != nil {
			t.Errorf("close: %v", err)
		}
		m := h.metrics()
		if m["total_requests"] != m["executed"]+m["unavailable"] || m["unavailable"] != 1 || m["stored"] != m["executed"] {
			t.Errorf("counters %v", m)
		}
	})
}

func TestACloseThatCannotWaitCancelsAndFailsWhatRuns(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r, b := h.open(options()), h.open(options())
		entered, release := h.blocked()
		first := r.later(1)
		<-entered
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := r.Close(ctx); err == nil {
			t.Error("close says that all has finished")
		}
		if a := <-first; a.Outcome != gate.Failed && a.Outcome != gate.Unavailable {
			t.Errorf("answer %s", name(a.Outcome))
		}
		close(release)
		h.expect(b.send(1), gate.Executed, `{"attempt":2}`) // at once: no lease to wait for
		h.expectCounts(map[string]int64{"executed": 2, "failed": 1, "stored": 1})
	})
}
