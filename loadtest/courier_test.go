package main

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// sent delivers first-time webhooks to a server and returns how long each took.
func sent(t *testing.T, rate float64, duration time.Duration, serve http.HandlerFunc) (latencies []time.Duration) {
	t.Helper()
	server := httptest.NewServer(serve)
	defer server.Close()
	l := load{targets: []string{server.URL}, connections: 1_000}
	s := newSchedule(named("first-time"), newSource("first-time", 1, ""), rate, duration)
	if _, err := l.deliver(t.Context(), s, "test", func(r result) (bool, error) {
		latencies = append(latencies, r.Latency)
		return false, nil
	}); err != nil {
		t.Fatal(err)
	}
	return latencies
}

func TestAStallIsNotHidden(t *testing.T) {
	t.Parallel()
	const stall = 500 * time.Millisecond
	gone := make(chan struct{})
	begin := sync.OnceFunc(func() { time.AfterFunc(stall, func() { close(gone) }) })
	latencies := sent(t, 200, time.Second, func(http.ResponseWriter, *http.Request) { begin(); <-gone })
	if len(latencies) != 200 {
		t.Fatalf("%d answers", len(latencies))
	}
	long := 0
	for _, l := range latencies {
		if l > stall/5 {
			long++
		}
	}
	// This is every delivery that was due in the first four fifths, and not only the few that a closed loop would have
	// sent.
	if long < 70 {
		t.Errorf("%d of 200 deliveries met a stall in which 100 were due", long)
	}
}

func TestTheHighestRateIsFound(t *testing.T) {
	t.Parallel()
	// Deliveries wait too long at a rate above most, per second. After a moment in which the machine was busy, a second
	// also serves the deliveries that have piled up.
	const most, more = 60, 30
	var mu sync.Mutex
	left, last := float64(more), time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		now := time.Now()
		left, last = min(more, left+most*now.Sub(last).Seconds())-1, now
		overload := left < 0
		left = max(left, 0)
		mu.Unlock()
		if overload {
			time.Sleep(1500 * time.Millisecond)
		}
	}))
	defer server.Close()
	for range 5 { // a busy machine may send too late itself
		p := &play{
			scenario: named("first-time"), load: load{targets: []string{server.URL}, connections: 1_000},
			source: newSource("first-time", 1, ""), rate: 20, duration: time.Second, slo: time.Second,
		}
		highest, notes, err := p.highest(t.Context(), func(result) error { return nil })
		if err == nil && highest >= most/2 && highest <= (most+more)*5/4 {
			return
		}
		t.Logf("%.0f/s, %v, %v", highest, err, notes)
	}
	t.Error("the highest rate was not found")
}
