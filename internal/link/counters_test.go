package link

import (
	"testing"
	"time"
)

func TestAFlushIsSentAsItWasUntilItIsTaken(t *testing.T) {
	var c Counters
	c.Add(Waited)
	first := c.take(time.Hour, false)
	if first.Number != 1 || len(first.Counters) != 3 {
		t.Fatalf("flush %+v", first)
	}
	c.Add(Waited)
	if f := c.take(0, false); f.Number != 0 {
		t.Errorf("a second one is on its way beside it: %+v", f)
	}
	c.done(first, false)
	again := c.take(time.Hour, false)
	if again.Number != first.Number || again.Counters[0].By != 1 {
		t.Errorf("sent again as %+v, was %+v", again, first)
	}
	c.done(again, true)
	if f := c.take(time.Hour, false); f.Number != 0 {
		t.Errorf("the next one is not due, but is %+v", f)
	}
	if f := c.take(0, false); f.Number != 2 || f.Counters[0].By != 1 {
		t.Errorf("the next one is %+v", f)
	}
}

func TestEveryRequestIsCountedOnceAndDuplicatesAddUp(t *testing.T) {
	for k := range kinds {
		has := make(map[string]int)
		for _, field := range fields[k] {
			has[field]++
		}
		remark := k >= LateAnswer
		if has["total_requests"] != 1 && !remark {
			t.Errorf("kind %d is no request", k)
		}
		if has["duplicates"] != has["replayed"]+has["waited"]+has["still_processing"] {
			t.Errorf("kind %d: %v", k, has)
		}
	}
}

func TestAProbeIsAFlushWithoutCounters(t *testing.T) {
	var c Counters
	if f := c.take(0, false); f.Number != 0 {
		t.Errorf("nothing to flush, but %+v", f)
	}
	if f := c.take(0, true); f.Number != 1 || len(f.Counters) != 0 {
		t.Errorf("the probe is %+v", f)
	}
}
