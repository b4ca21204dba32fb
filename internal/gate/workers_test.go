package gate

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncegate/oncegate/internal/record"
)

// aimless is a flight that lands at once, because nobody waits for it.
func aimless(b *bucket) *flight { return newFlight(b, b.asks(named(1), record.Digest{})) }

func TestADriverIsKeptForTheNextFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(New(Options{}), "cognigy")
		s := &b.gate.workers
		for n := range 3 {
			b.gate.running.Add(1)
			b.gate.drive(aimless(b))
			synctest.Wait()
			if len(s.idle) != 1 {
				t.Errorf("after %d flights %d drivers are idle", n+1, len(s.idle))
			}
		}
		b.gate.running.Wait()
		s.end()
	})
}

func TestADriverThatIsIdleForLongEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(New(Options{}), "cognigy")
		s := &b.gate.workers
		workers := func() int { // goroutines; those of earlier tests may still be ending
			stacks := make([]byte, 1<<20)
			return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "gate.(*workers).work(")
		}
		before := workers()
		drive := func() {
			b.gate.running.Add(1)
			b.gate.drive(aimless(b))
			synctest.Wait()
		}
		drive()
		time.Sleep(idleFor)
		s.trim(time.Now().Add(-idleFor))
		if len(s.idle) != 1 {
			t.Fatal("it has ended before its time")
		}
		time.Sleep(time.Nanosecond)
		s.trim(time.Now().Add(-idleFor))
		synctest.Wait()
		if len(s.idle) != 0 || workers() > before {
			t.Errorf("%d are idle, %d goroutines more than before", len(s.idle), workers()-before)
		}

		drive()
		s.end()
		synctest.Wait()
		drive() // one that comes after the end is not kept
		if len(s.idle) != 0 || workers() > before {
			t.Errorf("after the end %d are idle, %d goroutines more", len(s.idle), workers()-before)
		}
	})
}

func TestOnlySoManyDriversAreKept(t *testing.T) {
	var s workers
	for range maxIdle {
		if !s.rest(&worker{}) {
			t.Fatal("one of them is not kept")
		}
	}
	if s.rest(&worker{}) {
		t.Error("one more is kept")
	}
}
