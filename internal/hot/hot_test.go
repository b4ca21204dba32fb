package hot_test

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/hot"
)

func named(n int) (f fingerprint.Fingerprint) {
	binary.BigEndian.PutUint64(f[:], uint64(n)+1)
	return f
}

func TestNoHitIsLostOrCountedTwice(t *testing.T) {
	var touched hot.Touched
	touched.Watch(true)
	entries := make([]hot.Entry, 5)
	for i := range entries {
		entries[i].Fingerprint = named(i)
	}
	seen := make(map[fingerprint.Fingerprint]uint64)
	take := func() { touched.Take(func(e *hot.Entry, n uint64) { seen[e.Fingerprint] += n }) }
	var hitting sync.WaitGroup
	const each, goroutines = 20000, 4
	for range goroutines {
		hitting.Go(func() {
			for i := range each {
				touched.Hit(&entries[i%len(entries)])
			}
		})
	}
	ended := make(chan struct{})
	go func() { hitting.Wait(); close(ended) }()
	for done := false; !done; {
		select {
		case <-ended:
			done = true
		default:
		}
		take()
	}
	take()
	for i := range entries {
		if n := seen[named(i)]; n != each*goroutines/uint64(len(entries)) {
			t.Errorf("webhook %d was hit %d times, and %d are counted", i, each*goroutines/len(entries), n)
		}
	}
}

func TestAHitAllocatesNothingAndOffItKeepsNothing(t *testing.T) {
	var touched hot.Touched
	var e hot.Entry
	touched.Hit(&e)
	touched.Watch(true)
	touched.Take(func(*hot.Entry, uint64) { t.Error("a hit was kept while it was off") })
	if n := testing.AllocsPerRun(100, func() { touched.Hit(&e) }); n != 0 {
		t.Errorf("a hit takes %v allocations", n)
	}
}

// TestWhatIsToldIsTrueWithinItsError: of any mixture, the hot ones are there, and no count is off by more than it says.
func TestWhatIsToldIsTrueWithinItsError(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var summaries [3]hot.Summary // of three replicas
	truth := make(map[fingerprint.Fingerprint]uint64)
	for minute := range int64(4) {
		for range 50_000 {
			n := int(random.ExpFloat64() * 40) // few are hot
			if random.IntN(2) == 0 {
				n = 1000 + random.IntN(10_000) // many came once or so
			}
			summaries[random.IntN(3)].Add(named(n), "", 1, minute)
			truth[named(n)]++
		}
	}
	top := hot.Merge(summaries[0].Top(3), summaries[1].Top(3), summaries[2].Top(3))
	if len(top) != hot.Most {
		t.Fatalf("there are %d", len(top))
	}
	for i, item := range top {
		if n := truth[item.Fingerprint]; n > item.Duplicates || n < item.Duplicates-item.Error {
			t.Errorf("the %d. came %d times, told are %d, at most %d too many", i+1, n, item.Duplicates, item.Error)
		}
	}
	for i := range 10 {
		found := false
		for _, item := range top {
			found = found || item.Fingerprint == named(i)
		}
		if !found {
			t.Errorf("webhook %d, which came %d times, is missing", i, truth[named(i)])
		}
	}
}

func TestMinutesThatAreOverAreForgotten(t *testing.T) {
	var s hot.Summary
	s.Add(named(1), "", 5, 100)
	s.Add(named(2), "", 7, 102)
	if top := s.Top(104); len(top) != 2 || top[0].Duplicates != 7 {
		t.Errorf("after four minutes: %v", top)
	}
	if top := s.Top(105); len(top) != 1 || top[0].Fingerprint != named(2) {
		t.Errorf("after five minutes: %v", top)
	}
	if top := s.Top(10_000); len(top) != 0 {
		t.Errorf("long after: %v", top)
	}
}
