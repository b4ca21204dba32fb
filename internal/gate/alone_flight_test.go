package gate

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/scripts"
)

func clusterKeys(buckets int) redis.Keys { return redis.NewClusterKeys("cognigy", buckets) }

// newTracked returns a bucket whose client has a cache that Redis keeps up to date.
func newTracked(t testing.TB) *alone {
	t.Helper()
	server := redistest.Start(t)
	var g atomic.Pointer[Gate]
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, ForceSingleClient: true, OnInvalidations: func(keys []rueidis.RedisMessage) {
			if gate := g.Load(); gate != nil {
				gate.Invalidated(keys)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	a := &alone{bucket: bucketOf(client, nil), TB: t, direct: redistest.Client(t, server.Addr())}
	a.gate.tracking, a.gate.buckets = true, []*bucket{a.bucket}
	a.gate.started.Store(true)
	a.nameless() // before the client tells the gate of anything
	g.Store(a.gate)
	return a
}

func TestAHitInTheCacheAddsNothingToTheJournal(t *testing.T) {
	a := newTracked(t)
	now := time.Now()
	a.put(named(1), record.Record{
		State: record.Done, Attempt: 1, Token: "another", Stored: now, Ends: now.Add(time.Hour),
		Result: record.Result{Status: 200, ContentType: record.JSON, Body: []byte(`{}`)},
	})
	a.gate.replayCache.add(named(1))
	if k, hit := a.lookup(a.asks(named(1), record.Digest{}), time.Now()); hit || k == nil {
		t.Fatalf("at first: hit %v, found %v", hit, k != nil)
	}
	if a.journal.empty() {
		t.Error("what was fetched from Redis is not in the journal")
	}
	a.journal.drop(named(1), "another")
	a.gate.replayCache.drop(named(1)) // so that the cache behind it is asked
	if k, hit := a.lookup(a.asks(named(1), record.Digest{}), time.Now()); !hit || k == nil {
		t.Fatalf("then: hit %v, found %v", hit, k != nil)
	}
	if !a.journal.empty() {
		t.Error("a hit is in the journal")
	}
}

func TestOnlyAResultIsReplayedFromTheCache(t *testing.T) {
	a := newTracked(t)
	for n, r := range []record.Record{
		{State: record.Failed, Attempt: 1, Token: "t", FailedAt: time.Now(), Reason: "error"}, progressOf("t", time.Minute),
	} {
		a.put(named(n), r)
		a.gate.replayCache.add(named(n))
		if k, _ := a.lookup(a.asks(named(n), record.Digest{}), time.Now()); k != nil {
			t.Errorf("%+v is replayed", k.record)
		}
	}
}

func TestAVerdictThatWasOnlyFoundIsPutBackToo(t *testing.T) {
	a := newAlone(t, nil)
	a.put(named(1), record.Record{
		State: record.Failed, Attempt: 1, Token: "another", FailedAt: time.Now(), Reason: record.Expired, Doubt: true,
		Failures: 1, Verdict: record.Poisoned,
	})
	if got := a.find(a.asks(named(1), record.Digest{})); got.Outcome != Poisoned || a.journal.empty() {
		t.Errorf("outcome %d, in the journal: %v", got.Outcome, !a.journal.empty())
	}
	now := time.Now()
	a.put(named(2), record.Record{
		State: record.Done, Attempt: 1, Token: "another", Stored: now, Ends: now.Add(time.Hour),
		Result: record.Result{Status: 200, ContentType: record.JSON, Body: []byte(`{}`)},
	})
	if got := a.find(a.asks(named(2), record.Digest{})); got.Outcome != Replayed || len(a.journal.byFingerprint) != 1 {
		t.Errorf("outcome %d of a result, %d entries", got.Outcome, len(a.journal.byFingerprint))
	}
}

func TestAnExecutionWhoseEndWasRefusedLeavesTheJournal(t *testing.T) {
	a := newAlone(t, nil)
	e := a.executes(named(1), 0)
	e.end = record.Record{State: record.Done, Attempt: 1, Token: "ours", Result: record.Result{Status: 200}}
	e.kept = &e.end
	a.journalEnd(e, scripts.Answer{Verdict: scripts.Stored}, a.link.Epoch())
	if a.journal.empty() {
		t.Fatal("what was stored is not in the journal")
	}
	a.journalEnd(e, scripts.Answer{Verdict: scripts.Refused}, a.link.Epoch())
	if !a.journal.empty() {
		t.Error("what was refused is in the journal")
	}
}

func TestAnExecutionWhoseLeaseEndedInItsSleepIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s executions
		e := running(time.Minute)
		s.add(e)
		s.timer.Stop() // it slept with the machine
		time.Sleep(time.Hour)
		for range 2 { // its logic has not returned: its lease is renewed all the same
			if due := s.due(20 * time.Second); e.lifetime.Err() == nil || len(due) != 1 {
				t.Errorf("cancelled %v, %d are due", e.lifetime.Err(), len(due))
			}
		}
	})
}

func TestAFlightThatWentOnIsNoLongerStalled(t *testing.T) {
	b := newBucket(New(Options{}), "cognigy")
	f := newFlight(b, b.asks(named(1), record.Digest{}))
	f.token = "old"
	f.stall()
	f.stall()
	if next := f.goOn(nil); next != claiming || f.token == "old" {
		t.Errorf("phase %d under token %s", next, f.token)
	}
	if f.stalled {
		t.Error("who joins it now is told that it cannot store")
	}
}

func TestAnExecutionThatAHealingMayHaveMissedWakesTheKeeper(t *testing.T) {
	b := newBucket(New(Options{LockTTL: time.Minute, Rules: Rules{ExecutionTimeout: time.Minute}}), "cognigy")
	defer b.gate.running.Wait()
	w := Request{Tenant: b.nameless(), work: ran(record.Result{})}
	begins := func(loss bool) (woken bool) {
		claimed := link.Told(b.link, scripts.Answer{Verdict: scripts.Claimed})
		won := link.Won{Reply: link.Reply{Fact: claimed, Sent: time.Now()}}
		if loss {
			b.link.SuspectLoss()
			<-b.link.Losses() // it has healed
		}
		b.begin(newFlight(b, b.asks(named(1), record.Digest{})), w, won, scripts.Answer{Attempt: 1})
		select {
		case <-b.link.Losses():
			return true
		default:
			return false
		}
	}
	if begins(false) || !begins(true) {
		t.Error("the keeper is woken by every execution, or not by one that a healing may have missed")
	}
}

func TestAResultThatCannotBeKeptLeavesTheOutcomeUnknown(t *testing.T) {
	b := newBucket(New(Options{Rules: Rules{MaxResultBytes: 100, ResultTTL: time.Hour}}), "cognigy")
	f := newFlight(b, b.asks(named(1), record.Digest{}))
	w := *b.asks(named(1), record.Digest{})
	e := &execution{flight: f, webhook: w, result: record.Result{Status: 302, ContentType: record.JSON}}
	e.conclude(b)
	if e.end.State != record.Failed || e.end.Reason != "unknown" {
		t.Errorf("%+v", e.end)
	}
	e = &execution{
		flight: f, webhook: w, result: record.Result{Status: 200, ContentType: record.JSON, Body: make([]byte, 101)},
	}
	e.conclude(b)
	if e.end.State != record.Failed || e.end.Reason != "too-large" {
		t.Errorf("%+v", e.end)
	}
}

func TestLongLogicGathersNoCallersThatHaveDeparted(t *testing.T) {
	b := newBucket(New(Options{}), "cognigy")
	f := newFlight(b, b.asks(named(1), record.Digest{}))
	w := *b.asks(named(1), record.Digest{})
	stays := &caller{waiting: waiting{webhook: w}}
	f.callers = []*caller{stays}
	for range 1000 {
		leaves := &caller{waiting: waiting{webhook: w}}
		f.callers = append(f.callers, leaves)
		b.leave(f, leaves, Processing, time.Now())
	}
	if len(f.callers) > 4 || f.callers[0] != stays {
		t.Errorf("%d callers are kept, of whom one waits", len(f.callers))
	}
}

// TestAWaiterThatNobodyWakesAsksAgain: its connection has lost its tracking, and the other's lease is long.
func TestAWaiterThatNobodyWakesAsksAgain(t *testing.T) {
	a := newAlone(t, nil)
	a.gate.tracking = true
	a.put(named(1), progressOf("another", 2*time.Minute))
	f := newFlight(a.bucket, a.bucket.asks(named(1), record.Digest{}))
	f.leaseEnds, f.asksAgain = time.Now().Add(2*time.Minute), time.Now().Add(100*time.Millisecond)
	asked := make(chan phase, 1)
	go func() { asked <- f.watch() }()
	select {
	case next := <-asked:
		if next != claiming {
			t.Errorf("phase %d", next)
		}
	case <-time.After(30 * time.Second):
		t.Error("it waits for the end of the lease")
	}
}

func TestATokenIsBoundedAndPlain(t *testing.T) {
	prefix := tokenPrefix(strings.Repeat("a name\n~", 100), "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	replica, random, _ := strings.Cut(prefix, "~")
	if len(replica) != 40 || random != "ABCDEFGH~" || strings.ContainsAny(prefix, " \n") {
		t.Errorf("%q", prefix)
	}
}

func TestAWaitingFlightBelievesTheCacheOnlyWhileItMayBeTrusted(t *testing.T) {
	now := time.Now()
	for what, c := range map[string]struct {
		change func(a *alone)
		want   phase
	}{
		"trusted":                  {func(*alone) {}, landed},
		"after a sign of loss":     {func(a *alone) { a.link.SuspectLoss() }, claiming},
		"replicas must have it":    {func(a *alone) { a.gate.options.ReplicasAck = 1 }, claiming},
		"trusted, but it has none": {func(a *alone) { redistest.Do(a, a.direct, "FLUSHALL") }, claiming},
	} {
		a := newTracked(t)
		a.put(named(1), record.Record{
			State: record.Done, Attempt: 1, Token: "another", Stored: now, Ends: now.Add(time.Hour),
			Result: record.Result{Status: 200, ContentType: record.JSON, Body: []byte(`{}`)},
		})
		c.change(a)
		if got := newFlight(a.bucket, a.bucket.asks(named(1), record.Digest{})).watch(); got != c.want {
			t.Errorf("%s: phase %d, want %d", what, got, c.want)
		}
	}
}

func TestWhatIsKeptIsNotReplayedPastItsEnd(t *testing.T) {
	a := newTracked(t)
	for ends, want := range map[time.Duration]bool{time.Hour: true, -time.Millisecond: false} {
		r := record.Record{State: record.Done, Attempt: 1, Token: "t", Ends: a.link.Now().Add(ends)}
		a.gate.replayCache.keep("", named(1), &r, a.link.Epoch(), a.gate.replayCache.changes(named(1)))
		if k, _ := a.lookup(a.asks(named(1), record.Digest{}), time.Now()); (k != nil) != want {
			t.Errorf("%v before its end: replayed %v", ends, k != nil)
		}
	}
}

func TestCallersOfOneFingerprintShareOneFlight(t *testing.T) {
	a := newAlone(t, nil)
	tenant := a.nameless() // which is made when it is first asked for
	release := make(chan struct{})
	a.hears(func() { <-release })
	var answers sync.WaitGroup
	for range 3 {
		answers.Go(func() {
			got := a.do(Request{Tenant: tenant, Fingerprint: named(1), Arrived: time.Now(), Source: ran(record.Result{
				Status: 200, ContentType: record.JSON, Body: []byte(`{}`),
			})})
			if got.Outcome != Executed && got.Outcome != Waited {
				t.Errorf("outcome %d", got.Outcome)
			}
		})
	}
	waiting := func() (callers int) {
		a.flights.mu.Lock()
		defer a.flights.mu.Unlock()
		if f := a.flights.byFingerprint[named(1)]; f != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.callers)
		}
		return 0
	}
	for deadline := time.Now().Add(30 * time.Second); waiting() != 3 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if waiting() != 3 || a.nameless().use.waiting.Load() != 3 {
		t.Errorf("%d callers wait for the flight, %d in all", waiting(), a.nameless().use.waiting.Load())
	}
	close(release)
	answers.Wait()
	if waiting() != 0 || a.nameless().use.waiting.Load() != 0 {
		t.Errorf("then %d wait for the flight, %d in all", waiting(), a.nameless().use.waiting.Load())
	}
}

// TestARenewalThatAWaiterSeesLetsTheExecutionGoOnRunning: a caller that waits as long as it likes for an execution that
// runs is answered then, and not when the script is asked again.
func TestARenewalThatAWaiterSeesLetsTheExecutionGoOnRunning(t *testing.T) {
	a := newTracked(t)
	a.put(named(1), progressOf("another", 30*time.Second))
	f := newFlight(a.bucket, a.asks(named(1), record.Digest{}))
	now := time.Now()
	f.runs, f.runsUntil, f.leaseEnds = true, now.Add(-time.Millisecond), now.Add(-time.Millisecond)
	f.asksAgain = now.Add(time.Millisecond)
	if next := f.watch(); next != claiming || !f.isRunning(now.Add(10*time.Second)) {
		t.Errorf("phase %d, runs until %v", next, f.runsUntil)
	}
}
