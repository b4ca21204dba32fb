package gate

import (
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// TestAForgetWhileAResultIsOnItsWayIsNotMissed: a result that is stored, or found, before a forget and told after it
// answers no duplicate.
func TestAForgetWhileAResultIsOnItsWayIsNotMissed(t *testing.T) {
	a := newAlone(t, func(o *Options) { o.JournalBytes = 0 })
	stored := record.Record{
		State: record.Done, Attempt: 1, Token: "another", Stored: time.Now(), Ends: time.Now().Add(time.Hour),
		Result: record.Result{Status: 200, ContentType: record.JSON, Body: []byte(`{}`)},
	}
	for what, c := range map[string]struct{ stands, forgotten bool }{
		"stored": {}, "found": {stands: true}, "stored, and forgotten": {forgotten: true},
		"found, and forgotten": {stands: true, forgotten: true},
	} {
		a.forgets.tracked.Store(7)
		of := named(len(what))
		last := 2 // its claim and its store
		if c.stands {
			a.put(of, stored)
			last = 1
		}
		a.mu.Lock()
		a.calls = nil
		a.mu.Unlock()
		a.hears(func() {
			if calls, _ := a.called(); len(calls) == last && c.forgotten {
				a.forgets.tracked.Store(8) // forgotten, and tracked anew
			}
		})
		outcome := a.do(Request{
			Tenant: a.nameless(), Fingerprint: of, Arrived: time.Now(), Source: ran(stored.Result),
		}).Outcome
		if want := map[bool]Outcome{false: Executed, true: Replayed}[c.stands]; outcome != want {
			t.Fatalf("%s: outcome %d", what, outcome)
		}
		found := a.gate.replayCache.finds(of, a.link.Epoch(), a.forgets.mark())
		if found == c.forgotten {
			t.Errorf("%s: it answers duplicates: %v", what, found)
		}
	}
}

func TestAForgetOfAPersonReachesTheReplicaThatKeptTheResult(t *testing.T) {
	a := newTracked(t)
	for n := range 3 {
		if a.forgets.track(a.bucket); a.forgets.mark() == 0 {
			t.Fatal("the key is not tracked")
		}
		ended := record.Result{Status: 200, ContentType: record.JSON, Body: []byte(`{}`)}
		a.do(Request{Tenant: a.nameless(), Fingerprint: named(n), Arrived: time.Now(), Source: ran(ended)})
		if k, hit := a.lookup(a.asks(named(n), record.Digest{}), time.Now()); !hit || k == nil {
			t.Fatalf("what was stored answers %v, without a look at Redis %v", k != nil, hit)
		}
		redistest.Do(t, a.direct, "DEL", a.key(named(n)))
		redistest.Do(t, a.direct, "SET", a.link.Keys.Forgets(), "1")
		for deadline := time.Now().Add(30 * time.Second); a.forgets.mark() != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the forget is not told")
			}
		}
		if k, _ := a.lookup(a.asks(named(n), record.Digest{}), time.Now()); k != nil {
			t.Error("what was forgotten answers")
		}
	}
}

func TestAForgetWhileItsKeyBeginsToBeTrackedIsNotMissed(t *testing.T) {
	a := newAlone(t, nil)
	a.gate.tracking = true
	a.engine.Hears(func(command string) {
		if strings.HasPrefix(command, "GET") {
			a.forgets.changed()
		}
	})
	if a.forgets.track(a.bucket); a.forgets.mark() != 0 {
		t.Error("it counts as tracked since before the forget")
	}
	a.engine.Hears(func(string) {})
	if a.forgets.track(a.bucket); a.forgets.mark() == 0 {
		t.Error("it is not tracked when nobody forgets anything")
	}
}

func TestALostConnectionMayHideAForget(t *testing.T) {
	a := newAlone(t, nil)
	a.gate.buckets = []*bucket{a.bucket}
	a.gate.started.Store(true)
	a.forgets.tracked.Store(1)
	if a.gate.Invalidated(nil); a.forgets.mark() != 0 {
		t.Error("what was kept without tracking still answers")
	}
}

func TestWithoutTrackingNothingIsKept(t *testing.T) {
	a := newAlone(t, nil)
	if a.forgets.track(a.bucket); a.forgets.mark() != 0 {
		t.Error("it counts as tracked")
	}
}

func TestAKeyThatIsNoLongerTrackedMayHideAForget(t *testing.T) {
	a := newAlone(t, nil) // its client has no cache, as if it had just lost it
	a.gate.tracking = true
	a.forgets.track(a.bucket)
	before := a.forgets.mark()
	a.forgets.track(a.bucket)
	if after := a.forgets.mark(); before == 0 || after == 0 || after == before {
		t.Errorf("its mark was %d and is %d", before, after)
	}

	b := newTracked(t)
	b.forgets.track(b.bucket)
	before = b.forgets.mark()
	b.forgets.track(b.bucket)
	if after := b.forgets.mark(); before == 0 || after != before {
		t.Errorf("while it is tracked its mark goes from %d to %d", before, after)
	}
}
