package gate

import (
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

// numbered returns fingerprints that differ in slot and tag.
func numbered(n int) (f fingerprint.Fingerprint) {
	binary.LittleEndian.PutUint64(f[:], uint64(n))
	binary.LittleEndian.PutUint64(f[8:], uint64(n)+1)
	return f
}

func doneWith(bytes int) *record.Record {
	return &record.Record{State: record.Done, Attempt: 1, Result: record.Result{Body: make([]byte, bytes)}}
}

// finds reports whether a record is kept that answers at this moment.
func (s *replayCache) finds(f fingerprint.Fingerprint, epoch link.Epoch, mark uint64) bool {
	return s.record("", f, epoch, mark, time.Now()) != nil
}

func TestWhatIsKeptIsFoundUntilItChanges(t *testing.T) {
	var s replayCache
	one := numbered(1)
	s.keep("", one, doneWith(1), 7, s.changes(one))
	if !s.finds(one, 7, 0) || s.finds(one, 8, 0) || s.finds(numbered(1+1<<16), 7, 0) {
		t.Error("it is not found, or found after a signal, or under another name")
	}
	s.drop(one)
	if s.finds(one, 7, 0) || s.bytes.Load() != 0 {
		t.Errorf("it is found after a change, %d bytes are kept", s.bytes.Load())
	}
}

func TestARecordThatChangesWhileItIsReadIsNotKept(t *testing.T) {
	var s replayCache
	one := numbered(1)
	changes := s.changes(one)
	s.drop(one) // between the look into the cache and keep
	s.keep("", one, doneWith(1), 7, changes)
	if s.finds(one, 7, 0) || s.bytes.Load() != 0 {
		t.Error("a stale record is kept")
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	var s replayCache
	s.keep("", numbered(0), doneWith(maxKeptOne), 1, 0)
	if s.finds(numbered(0), 1, 0) {
		t.Error("one that is too large is kept")
	}
	for n := range 3 * maxKept / (32 << 10) {
		s.keep("", numbered(n), doneWith(32<<10), 1, 0)
	}
	if kept := s.bytes.Load(); kept > maxKept || kept < maxKept/2 {
		t.Errorf("%d bytes are kept", kept)
	}
	var sum int64
	for i := range s.slots {
		if k := s.slots[i].kept.Load(); k != nil {
			sum += k.size()
		}
	}
	if sum != s.bytes.Load() {
		t.Errorf("%d bytes are kept, %d are counted", sum, s.bytes.Load())
	}
}

func TestKeepingAndDroppingAtOnceLeavesNothingStale(t *testing.T) {
	var s replayCache
	one := numbered(1)
	for range 2000 {
		var both sync.WaitGroup
		changes := s.changes(one)
		both.Go(func() { s.keep("", one, doneWith(1), 7, changes) })
		both.Go(func() { s.drop(one) })
		both.Wait()
		if s.finds(one, 7, 0) {
			t.Fatal("a stale record is kept")
		}
	}
}

func TestWhatIsKeptUntrackedAnswersForAShortTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s replayCache
		one := numbered(1)
		s.keepUntracked(&Tenant{}, one, doneWith(1), 7, 3)
		time.Sleep(untrackedFor)
		if !s.finds(one, 7, 3) {
			t.Error("it is not found")
		}
		time.Sleep(time.Nanosecond)
		if s.finds(one, 7, 3) || !s.has(one) {
			t.Error("it is still found, or nobody looks for it in Redis then")
		}
	})
}

func TestWhatIsKeptUntrackedIsNotFoundAfterAForget(t *testing.T) {
	var s replayCache
	one := numbered(1)
	s.keepUntracked(&Tenant{}, one, doneWith(1), 7, 3)
	if s.finds(one, 7, 4) || s.finds(one, 7, 0) || s.finds(one, 8, 3) {
		t.Error("it is found after a forget, while one may be missed, or after a signal")
	}
	s.keepUntracked(&Tenant{}, numbered(2), doneWith(1), 7, 0)
	if s.finds(numbered(2), 7, 0) || !s.has(numbered(2)) {
		t.Error("what was stored while a forget may be missed is kept, or not looked for")
	}
}

// holds is work that its request and its execution point to.
type holds struct{ ran }

func (h *holds) Detach() Work { return h }

// TestAKeptResultKeepsNothingElseOfItsExecution: the bound on kept records counts results only, and an execution also
// has the body of its request.
func TestAKeptResultKeepsNothingElseOfItsExecution(t *testing.T) {
	a := newAlone(t, func(o *Options) { o.JournalBytes = 0 })
	a.forgets.tracked.Store(1)
	let := make(chan struct{})
	func() {
		work := &holds{ran{Status: 200, ContentType: record.JSON, Body: []byte(`{}`)}}
		runtime.AddCleanup(work, func(let chan struct{}) { close(let) }, let)
		w := Request{Tenant: a.nameless(), Fingerprint: named(1), Arrived: time.Now(), Source: work}
		if got := a.do(w); got.Outcome != Executed {
			t.Fatalf("outcome %d", got.Outcome)
		}
	}()
	a.gate.running.Wait()
	for range 3 { // the second run empties the pools
		runtime.GC()
	}
	select {
	case <-let:
	case <-time.After(30 * time.Second):
		t.Error("the work of the request is kept with its result")
	}
	if !a.gate.replayCache.finds(named(1), a.link.Epoch(), 1) {
		t.Error("the result is not kept")
	}
}
