package gate

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

func TestAHealingRenewsFirstAndRestoresTheNewestFirst(t *testing.T) {
	a := newAlone(t, nil)
	a.executes(named(0), 0)
	a.put(named(0), progressOf("ours", time.Minute))
	for n := 1; n <= 130; n++ { // more than go into one call
		a.notes(named(n), 1)
	}
	a.link.SuspectLoss()
	if !a.keeper.healer.heal() {
		t.Error("it is not whole")
	}
	want := []string{a.key(named(0)), a.key(named(130)), a.key(named(2))}
	if got, _ := a.called(); !slices.Equal(got, want) {
		t.Errorf("calls about %v, want %v", got, want)
	}
	for n := range 131 {
		if r := a.stands(named(n)); r.Token == "" {
			t.Errorf("%d is not put back", n)
		}
	}
}

func TestAHealingIsBoundedInEachCall(t *testing.T) {
	for bytes, most := range map[int]int{1: link.MaxGroup, 300 << 10: 3, 2 << 20: 1} {
		a := newAlone(t, func(o *Options) { o.MaxResultBytes = 4 << 20 })
		for n := range 2*most + 1 {
			a.notes(named(n), bytes)
		}
		a.link.SuspectLoss()
		a.keeper.healer.heal()
		if _, sizes := a.called(); !slices.Equal(sizes, []int{most, most, 1}) {
			t.Errorf("results of %d bytes go out %v at a time, want %d", bytes, sizes, most)
		}
	}
}

func TestLeasesAreRenewedBetweenTheGroupsOfAHealing(t *testing.T) {
	a := newAlone(t, nil)
	for n := 1; n <= 300; n++ {
		a.notes(named(n), 1)
	}
	a.link.SuspectLoss()
	a.hears(func() {
		if calls, _ := a.called(); len(calls) == 1 { // while the first group is restored, a lease becomes due
			a.executes(named(0), a.gate.options.LockTTL/2)
		}
	})
	a.keeper.healer.heal()
	calls, _ := a.called()
	if got := slices.Index(calls, a.key(named(0))); got != 1 {
		t.Errorf("the lease is renewed by call %d of %d", got, len(calls))
	}
}

func TestASignOfLossInTheMiddleBeginsAHealingAnew(t *testing.T) {
	a := newAlone(t, nil)
	a.says("a")
	a.keeper.healer.confirmedUnder = scripts.History{ID: "a", Met: 1}
	a.link.SuspectLoss()
	if !a.keeper.healer.heal() {
		t.Fatal("a healing that nothing disturbs is not whole")
	}
	a.hears(a.link.SuspectLoss)
	if a.keeper.healer.heal() {
		t.Error("a healing is whole, although a loss was suspected in its middle")
	}
}

func TestAnEntryThatRedisHasAnsweredForIsNotSentAgain(t *testing.T) {
	a := newAlone(t, nil)
	a.notes(named(1), 1)
	a.link.SuspectLoss()
	for range 2 {
		a.keeper.healer.heal()
	}
	if calls, _ := a.called(); len(calls) != 1 {
		t.Errorf("in one epoch it is sent %d times", len(calls))
	}
	a.link.SuspectLoss()
	a.keeper.healer.heal()
	if calls, _ := a.called(); len(calls) != 2 {
		t.Errorf("after the next sign of loss it is sent %d times", len(calls)-1)
	}
}

func TestAnEntryThatWasOvertakenLeavesTheJournal(t *testing.T) {
	a := newAlone(t, nil)
	a.notes(named(1), 1)
	later := progressOf("another", time.Minute)
	later.Attempt = 2
	a.put(named(1), later)
	a.link.SuspectLoss()
	a.keeper.healer.heal()
	if !a.journal.empty() || a.stands(named(1)).Token != "another" {
		t.Errorf("it is kept, or %+v stands", a.stands(named(1)))
	}
}

func TestAtASignOfLossWaitingFlightsLookAgain(t *testing.T) {
	a := newAlone(t, nil)
	f := newFlight(a.bucket, a.bucket.asks(named(1), record.Digest{}))
	a.flights.byFingerprint[named(1)] = f
	f.listen()
	a.keeper.healer.heal()
	select {
	case <-f.wake:
	default:
		t.Error("a flight that waits is not woken")
	}
}

func TestWhatIsOlderThanJournalAgeIsNotPutBack(t *testing.T) {
	a := newAlone(t, func(o *Options) { o.JournalAge = 20 * time.Millisecond })
	a.notes(named(1), 1)
	a.keeper.start()
	defer a.keeper.close()
	for deadline := time.Now().Add(30 * time.Second); !a.journal.empty(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is kept")
		}
	}
}

func TestARenewalThatPutItsRecordBackIsASignOfLoss(t *testing.T) {
	a := newAlone(t, nil)
	e := a.executes(named(1), time.Second) // an execution that Redis does not know
	before := a.link.Epoch()
	if !a.renew(0) || a.link.Current(before) || e.lease.Age() >= time.Second {
		t.Errorf("epoch %d after %d, the lease is %v old", a.link.Epoch(), before, e.lease.Age())
	}
	before = a.link.Epoch()
	if !a.renew(0) || !a.link.Current(before) {
		t.Error("a renewal that found its record is one too")
	}
}

func TestARenewalThatMeetsTheVerdictOnItCancelsNothing(t *testing.T) {
	a := newAlone(t, nil)
	e := a.executes(named(1), time.Second)
	a.put(named(1), record.Record{
		State: record.Failed, Attempt: 1, Token: "ours", FailedAt: time.Now(), Reason: record.Expired, Doubt: true,
		Failures: 1, Verdict: record.Poisoned,
	})
	if !a.renew(0) || e.fate.Load() != fateRuns || e.lifetime.Err() != nil || e.lease.Age() >= time.Second {
		t.Errorf("fate %d, cancelled %v, the lease is %v old", e.fate.Load(), e.lifetime.Err(), e.lease.Age())
	}
}

func TestTheFailOfALostExecutionIsRepeated(t *testing.T) {
	a := newAlone(t, nil)
	e := a.executes(named(1), 0)
	a.put(named(1), progressOf("ours", time.Minute))
	a.engine.Says("EVALSHA", "-READONLY You can't write against a read only replica.")
	a.hears(func() {
		if calls, _ := a.called(); len(calls) == 2 {
			a.engine.Passes()
		}
	})
	a.nameless().use.executing.Add(1)
	a.seeOff(e)
	if r := a.stands(named(1)); r.State != record.Failed || r.Reason != reasonLeaseLost {
		t.Errorf("%+v stands", r)
	}
	if a.executions.count() != 0 || a.nameless().use.executing.Load() != 0 {
		t.Error("it counts as running still")
	}
}

func TestEachBucketHasItsShareOfTheJournal(t *testing.T) {
	for _, c := range []struct{ all, result, least, most int }{
		{100 << 20, 1 << 20, 25 << 20, 25 << 20},
		{1 << 20, 1 << 20, 1<<20 + entryOverhead, 2 << 20}, // the largest result fits
		{0, 1 << 20, 0, 0},
	} {
		g := New(Options{JournalBytes: c.all, Log: newAlone(t, nil).log})
		g.keys = clusterKeys(4)
		b := newBucket(g, g.keys.Buckets()[0])
		g.buckets = []*bucket{b}
		g.Tenant(Rules{Name: "acme", MaxResultBytes: c.result})
		g.Tenant(Rules{Name: "acme", MaxResultBytes: 1}) // entries of the journal may still be put back
		if room := b.journal.room; room < c.least || room > c.most {
			t.Errorf("of %d bytes, one of four buckets has %d, and the largest result %d", c.all, room, c.result)
		}
	}
}

func TestWhatAPersonForgotIsInTheJournalBeforeItIsTold(t *testing.T) {
	a := newAlone(t, nil)
	f := newFlight(a.bucket, a.bucket.asks(named(1), record.Digest{}))
	forgotten := record.Record{
		State: record.Failed, Attempt: 2, Token: record.Person, FailedAt: time.Now(), Reason: reasonForgotten,
	}
	next, ok := f.landOn(link.Told(a.link, forgotten))
	if !ok || next != landed || f.landing.outcome != Processing || a.journal.empty() {
		t.Errorf("phase %d, outcome %d, in the journal: %v", next, f.landing.outcome, !a.journal.empty())
	}
}

// TestARefusalToWriteIsNoAnswer: Redis answers, and takes no writes yet.
func TestARefusalToWriteIsNoAnswer(t *testing.T) {
	a := newAlone(t, nil)
	a.notes(named(1), 1)
	a.link.SuspectLoss()
	const refusal = "\r\n*2\r\n$5\r\nerror\r\n$8\r\nREADONLY"
	a.engine.Says("EVALSHA", "*5\r\n$0\r\n\r\n:1\r\n:0\r\n:3"+refusal)
	if a.putBack(a.link.Epoch()) || a.journal.empty() {
		t.Errorf("a restore is done, or forgotten: %v", a.journal.empty())
	}
	a.executes(named(2), 0)
	if a.renew(0) {
		t.Error("a renewal is done")
	}
	a.engine.Passes()
	if !a.putBack(a.link.Epoch()) || a.stands(named(1)).Token != "noted" {
		t.Error("when Redis takes writes again, it is not put back")
	}
}

func TestALostLeaseCancelsItsExecutionAtOnce(t *testing.T) {
	a := newAlone(t, nil)
	e := a.executes(named(1), time.Second)
	later := progressOf("another", time.Minute)
	later.Attempt = 2
	a.put(named(1), later)
	var driven []*flight
	a.gate.drive = func(f *flight) { driven = append(driven, f); a.gate.running.Done() }
	if !a.renew(0) || !errors.Is(context.Cause(&e.lifetime), record.ErrLeaseLost) || e.fate.Load() != fateLost {
		t.Errorf("cause %v, fate %d", context.Cause(&e.lifetime), e.fate.Load())
	}
	if r, err := record.Parse(e.successor); err != nil || r.Attempt != 2 || !slices.Equal(driven, []*flight{e.flight}) {
		t.Errorf("told %q, %d new drivers", e.successor, len(driven))
	}
	if a.renew(0); len(a.executions.due(0)) != 0 {
		t.Error("it is renewed still")
	}
}
