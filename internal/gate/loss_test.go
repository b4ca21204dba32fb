package gate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// forgetAndRefuse makes Redis forget all, a new history be noted as if by another replica, and all writes be refused
// from then on: at once, so that nothing can be put back before.
func (h *testbed) forgetAndRefuse(settle time.Duration) {
	h.Helper()
	var id string
	for line := range lines(redistest.Do(h, h.client, "INFO", "replication")) {
		if v, ok := strings.CutPrefix(line, "master_replid:"); ok {
			id = v
		}
	}
	now := time.Now().UnixMilli()
	build := h.client.B()
	for _, reply := range h.client.DoMulti(context.Background(), build.Multi().Build(), build.Flushall().Build(),
		build.Arbitrary("HSET", keys.Metrics(), "history",
			fmt.Sprint(id, " ", now, " ", now+settle.Milliseconds(), " ", settle.Milliseconds())).Build(),
		build.Arbitrary("CONFIG", "SET", "min-replicas-to-write", "1").Build(), build.Exec().Build()) {
		if err := reply.Error(); err != nil {
			h.Fatal(err)
		}
	}
}

// TestAHealingThatRedisRefusesIsRepeated: Redis forgets, another replica has noted the new history already, and Redis
// takes no writes when the owner of a running execution puts its record back.
func TestAHealingThatRedisRefusesIsRepeated(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.Settle = 4 * time.Second
	o.LockTTL = 20 * time.Second // the next renewal would come far too late
	a, b := h.open(o), h.open(o)
	entered, release := h.blocked()
	first := a.later(1)
	<-entered
	h.forgetAndRefuse(o.Settle)
	h.eventually("a renewal was refused", func() bool {
		return strings.Contains(redistest.Do(t, h.client, "INFO", "errorstats"), "NOREPLICAS")
	})
	h.server.Config("min-replicas-to-write", "0")
	second := b.later(1)
	h.eventually("the record is put back", func() bool { return h.recordOf(1).State == record.InProgress })
	close(release)
	for _, a := range []gate.Answer{<-first, <-second} {
		if string(a.Result.Body) != `{"attempt":1}` {
			t.Errorf("answer %s %s", name(a.Outcome), a.Result.Body)
		}
	}
	h.expectExecutions(1)
}

func TestAnExecutionThatIsKnownToBeLostIsNeitherRenewedNorStored(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := impatient()
	o.JournalBytes = 0
	a, b := h.openBehindProxy(o), h.open(o)
	entered, release, returned := make(chan int64, 10), make(chan struct{}), make(chan struct{})
	h.setLogic(func(_ context.Context, attempt int64) (record.Result, error) {
		entered <- attempt
		if attempt == 1 { // it ignores its context
			<-release
			defer close(returned)
		}
		return answer(fmt.Sprintf(`{"attempt":%d}`, attempt)), nil
	})
	late := a.later(1)
	<-entered
	a.proxy.Cut()
	h.expect(b.send(1), gate.Executed, `{"attempt":2}`)
	a.proxy.Mend()
	h.expect(<-late, gate.Waited, `{"attempt":2}`)

	redistest.Do(t, h.client, "FLUSHALL") // now no record is in its way
	a.Invalidated(nil)
	close(release)
	<-returned
	h.eventually("its end has come to redis", func() bool { return h.recordOf(1).State == record.Failed })
	if m := h.metrics(); m["restored"]+m["stored"] != 0 {
		t.Errorf("counters %v", m)
	}
}

func TestALostLeaseIsCountedOnceHoweverLongItsLogicGoesOn(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.LockTTL = time.Second
	a := h.open(o)
	release := make(chan struct{})
	another := func(r record.Record) {
		r.Attempt, r.Token = 2, "another"
		redistest.Do(t, h.client, "SET", keys.Record(h.request(1, "").Fingerprint), string(record.Append(nil, r)))
	}
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		now := time.Now()
		another(record.Record{State: record.InProgress, Deadline: now.Add(time.Minute), Lease: time.Minute, Started: now})
		<-release
		return answer(`{"by":"me"}`), nil
	})
	first := a.later(1)
	h.eventually("the lease is lost", func() bool { return h.metrics()["lost_leases"] > 0 })
	time.Sleep(3 * o.LockTTL) // it is to be shown that nothing happens
	another(record.Record{State: record.Done, Stored: time.Now(), Ends: time.Now().Add(time.Minute),
		Result: answer(`{"by":"another"}`)})
	h.expect(<-first, gate.Waited, `{"by":"another"}`)
	close(release)
	h.expectCounts(map[string]int64{"executed": 1, "lost_leases": 1, "lost_stores": 1})
}

func TestAStoreThatIsAskedAgainPausesBetweenTries(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	a := h.openBehindProxy(options())
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		a.proxy.Hold()
		return answer(`{}`), nil
	})
	late := a.later(1)
	h.eventually("redis has executed the store", func() bool { return h.recordOf(1).State == record.Done })
	a.Invalidated(nil) // the reply will not be believed
	redistest.Do(t, h.client, "DEL", keys.Record(h.request(1, "").Fingerprint))
	h.server.Config("min-replicas-to-write", "1") // nor will the next one be a verdict
	before := calls(redistest.Do(t, h.client, "INFO", "commandstats"), "evalsha")
	a.proxy.Mend()
	time.Sleep(time.Second)
	if n := calls(redistest.Do(t, h.client, "INFO", "commandstats"), "evalsha") - before; n > 100 {
		t.Errorf("%d calls of the script in a second", n)
	}
	h.server.Config("min-replicas-to-write", "0")
	h.expect(<-late, gate.Executed, `{}`)
}

func TestAClaimThatIsWonWhileTheGateClosesBlocksNobody(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.LockTTL = time.Minute
	a, b := h.openBehindProxy(o), h.open(o)
	end := a.endable()
	a.proxy.Hold()
	first := a.later(1)
	h.eventually("redis has executed the claim", func() bool { return h.recordOf(1).State == record.InProgress })
	closed := end()
	a.proxy.Mend()
	<-closed
	h.expect(<-first, gate.Unavailable, "")
	h.expectExecutions(0)
	h.expect(b.send(1), gate.Executed, `{"execution":1}`)
	h.expectCounts(map[string]int64{"executed": 3, "failed": 2, "stored": 1})
}

func TestAReplayThatRedisRefusedAtFirstIsCounted(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	a, b := h.open(options()), h.open(options())
	a.send(1)
	h.server.Config("busy-reply-threshold", "20")
	busy := redistest.Client(t, h.server.Addr())
	go func() {
		_ = busy.Do(context.Background(), busy.B().Arbitrary("EVAL", "while true do end", "0").Build()).Error()
	}()
	h.eventually("redis is busy", func() bool {
		return strings.HasPrefix(fmt.Sprint(h.client.Do(context.Background(), h.client.B().Ping().Build()).Error()), "BUSY")
	})
	second := b.later(1)
	time.Sleep(100 * time.Millisecond) // its claim is refused meanwhile
	redistest.Do(t, h.client, "SCRIPT", "KILL")
	h.expect(<-second, gate.Replayed, `{"execution":1}`)
	h.expectCounts(map[string]int64{"total_requests": 2, "executed": 1, "replayed": 1})
}

// TestALostExecutionDoesNotHoldUpTheFlightThatWentOn: its logic returns while Redis is away, a later attempt runs.
func TestALostExecutionDoesNotHoldUpTheFlightThatWentOn(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := impatient()
	o.LockTTL, o.WaitTimeout, o.RedisPatience = 20*time.Second, 5*time.Second, time.Second
	r := h.open(o)
	entered, ends := make(chan int64, 4), map[int64]chan struct{}{1: make(chan struct{}), 3: make(chan struct{})}
	h.setLogic(func(_ context.Context, attempt int64) (record.Result, error) {
		entered <- attempt
		<-ends[attempt]
		return answer(fmt.Sprintf(`{"attempt":%d}`, attempt)), nil
	})
	first := r.later(1)
	<-entered
	h.record(1, record.Record{State: record.Failed, Attempt: 2, Token: "another", FailedAt: time.Now(), Reason: "error",
		Digest: digestOf("body")})
	redistest.Do(t, h.client, "CLIENT", "KILL", "TYPE", "normal") // a signal: it renews at once, and finds that it is lost
	if attempt := <-entered; attempt != 3 {
		t.Fatalf("attempt %d", attempt)
	}
	h.server.Pause()
	close(ends[1])
	time.Sleep(2 * o.RedisPatience) // its store has no answer for so long
	h.server.Resume()
	<-first
	h.eventually("redis answers", func() bool { return r.Ready() == nil })
	later := r.later(1)
	time.Sleep(500 * time.Millisecond) // until its store has come to its end, too
	close(ends[3])
	h.expect(<-later, gate.Waited, `{"attempt":3}`)
}
