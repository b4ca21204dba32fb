package link

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/scripts"
)

func TestAFlushIsSentAsItWasUntilItIsTaken(t *testing.T) {
	var c Counters
	c.Of("").Add(Waited)
	first := c.take(time.Hour, false)
	if first.Number != 1 || len(first.Counters) != 3 {
		t.Fatalf("flush %+v", first)
	}
	c.Of("").Add(Waited)
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

// TestEachTenantsCountsReachAFlushOnce: those of all at once, a tenant's own fields when there is room.
func TestEachTenantsCountsReachAFlushOnce(t *testing.T) {
	var c Counters
	const tenants = 100
	c.Of("").Add(Malformed)
	for i := range tenants {
		c.Of(fmt.Sprintf("t-%d", i)).Add(Waited)
		c.Of(fmt.Sprintf("t-%d", i)).Add(Unopened)
	}
	sums := map[string]int64{}
	for round := 1; !c.empty(); round++ {
		f := c.take(0, false)
		if n := len(f.Counters); n == 0 || n > scripts.MaxIncrements {
			t.Fatalf("flush %d has %d increments", round, n)
		}
		for _, i := range f.Counters {
			sums[i.Field] += i.By
		}
		if round == 1 && (sums["total_requests"] != 2*tenants || sums["malformed"] != 1) {
			t.Errorf("the first flush has of all: %v", sums)
		}
		c.done(f, true)
	}
	of := func(field string) (all, oneByOne int64) {
		for name, n := range sums {
			if strings.HasSuffix(name, "/"+field) {
				oneByOne += n
			}
		}
		return sums[field], oneByOne
	}
	for field, want := range map[string]int64{
		"total_requests": 2 * tenants, "waited": tenants, "unavailable": tenants, "replayed": -tenants, "duplicates": 0,
	} {
		if all, oneByOne := of(field); all != want || oneByOne != want {
			t.Errorf("%s is %d of all and %d of the tenants, want %d", field, all, oneByOne, want)
		}
	}
	if sums["t-7/waited"] != 1 || sums["/malformed"] != 0 {
		t.Errorf("t-7/waited is %d", sums["t-7/waited"])
	}
	own := c.Of("t-7")
	own.Add(Waited)
	if n := c.Totals(own)[Waited]; n != 2 {
		t.Errorf("of one tenant %d are told in all, want 2", n)
	}
}
