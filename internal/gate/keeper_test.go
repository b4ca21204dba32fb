package gate

import (
	"testing"
	"time"
)

func TestProbesOfARedisInTroubleAreSpread(t *testing.T) {
	k := newKeeper(&bucket{gate: New(Options{LockTTL: time.Minute, MetricsFlush: time.Second})})
	if next := untilNext(k.tick(), false); next != probeEvery {
		t.Errorf("all is well, and the keeper waits for %v", next)
	}
	different := make(map[time.Duration]bool)
	var sum time.Duration
	for range 1000 {
		next := untilNext(k.tick(), true)
		if next <= 0 || next > 2*probeEvery {
			t.Fatalf("it waits for %v", next)
		}
		different[next] = true
		sum += next
	}
	if mean := sum / 1000; len(different) < 900 || mean < probeEvery*8/10 || mean > probeEvery*12/10 {
		t.Errorf("%d lengths, %v on average", len(different), mean)
	}
}
