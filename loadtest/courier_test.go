package main

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
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
	const stall = 500 * time.Millisecond
	over := time.After(stall)
	gone := make(chan struct{})
	go func() { <-over; close(gone) }()
	latencies := sent(t, 200, time.Second, func(http.ResponseWriter, *http.Request) { <-gone })
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
	const most = 300 // deliveries a second; at a higher rate they wait too long
	var second, count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if now := time.Now().UnixMilli() / 100; second.Swap(now) != now {
			count.Store(0)
		}
		if count.Add(1) > most/10 {
			time.Sleep(300 * time.Millisecond)
		}
	}))
	defer server.Close()
	p := &play{
		scenario: named("first-time"), load: load{targets: []string{server.URL}, connections: 1_000},
		source: newSource("first-time", 1, ""), rate: 50, duration: 500 * time.Millisecond, slo: 200 * time.Millisecond,
	}
	highest, notes, err := p.highest(t.Context(), func(result) error { return nil })
	if err != nil || highest < most*3/4 || highest > most*5/4 {
		t.Errorf("%.0f/s, %v, %v", highest, err, notes)
	}
}
