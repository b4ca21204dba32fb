package main

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// all returns all deliveries of a scenario.
func all(name string, seed uint64, rate float64, duration time.Duration) (deliveries []delivery) {
	s := named(name)
	for of := newSchedule(s, newSource(name, seed, ""), rate, duration); ; {
		d, ok := of.next()
		if !ok {
			return deliveries
		}
		deliveries = append(deliveries, d)
	}
}

func times(deliveries []delivery) map[fingerprint.Fingerprint]int {
	times := map[fingerprint.Fingerprint]int{}
	for _, d := range deliveries {
		if !d.malformed {
			times[d.fingerprint]++
		}
	}
	return times
}

func TestTheSameSeedSendsTheSameWebhooksAtTheSameTimes(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			first, again, other := all(s.name, 7, 500, 6*time.Second), all(s.name, 7, 500, 6*time.Second),
				all(s.name, 8, 500, 6*time.Second)
			if len(first) == 0 || len(first) != len(again) {
				t.Fatalf("%d deliveries, then %d", len(first), len(again))
			}
			for i := range first {
				if first[i].at != again[i].at || string(first[i].body) != string(again[i].body) {
					t.Fatalf("delivery %d: %v %s\nthen %v %s", i+1, first[i].at, first[i].body, again[i].at, again[i].body)
				}
				if i > 0 && first[i].at < first[i-1].at {
					t.Fatalf("delivery %d is due at %v, the one before at %v", i+1, first[i].at, first[i-1].at)
				}
			}
			known := times(first)
			for of := range times(other) {
				if known[of] != 0 {
					t.Fatalf("seeds 7 and 8 both send %s", of)
				}
			}
		})
	}
}

func TestARateIsThatOfAllDeliveries(t *testing.T) {
	for _, name := range []string{"first-time", "storm", "retries", "mixed-day", "slow-logic", "bad-input"} {
		if got := len(all(name, 1, 1_000, 10*time.Second)); got < 9_900 || got > 10_100 {
			t.Errorf("%s sends %d within 10 s at 1,000/s", name, got)
		}
	}
}

func TestWhatAScenarioSends(t *testing.T) {
	t.Run("first-time: every webhook is another one", func(t *testing.T) {
		for of, n := range times(all("first-time", 1, 1_000, time.Second)) {
			if n != 1 {
				t.Fatalf("%s comes %d times", of, n)
			}
		}
	})
	t.Run("storm: one webhook", func(t *testing.T) {
		if got := len(times(all("storm", 1, 1_000, 10*time.Second))); got != 1 {
			t.Fatalf("%d webhooks", got)
		}
	})
	t.Run("retries: each again 1 to 5 times", func(t *testing.T) {
		seen := map[int]bool{}
		for _, n := range times(all("retries", 1, 1_000, 10*time.Second)) {
			seen[n] = true
		}
		for n := range 8 {
			if seen[n] != (n >= 2 && n <= 6) {
				t.Errorf("delivered %d times: %v", n, seen[n])
			}
		}
	})
	t.Run("retries: with backoff and jitter", func(t *testing.T) {
		deliveries := all("retries", 1, 100, 10*time.Second)
		last, pauses := map[fingerprint.Fingerprint]time.Duration{}, map[fingerprint.Fingerprint][]time.Duration{}
		distinct := map[time.Duration]bool{}
		for _, d := range deliveries {
			if before, ok := last[d.fingerprint]; ok {
				pauses[d.fingerprint] = append(pauses[d.fingerprint], d.at-before)
				distinct[d.at-before] = true
			}
			last[d.fingerprint] = d.at
		}
		for of, p := range pauses {
			for i, pause := range p {
				if backoff := 50 * time.Millisecond << i; pause < backoff/2 || pause >= backoff/2*3 {
					t.Fatalf("%s: retry %d after %v", of, i+1, pause)
				}
			}
		}
		if len(distinct) < 100 {
			t.Errorf("%d different pauses", len(distinct))
		}
	})
	t.Run("burst: 20 times the rate in one second of five", func(t *testing.T) {
		var quiet, burst int
		for _, d := range all("burst", 1, 100, 10*time.Second) {
			if d.at%(5*time.Second) < 4*time.Second {
				quiet++
			} else {
				burst++
			}
		}
		if ratio := float64(burst) / 2 / (float64(quiet) / 8); ratio < 15 || ratio > 22 {
			t.Errorf("%.1f times the rate: %d in bursts, %d between", ratio, burst, quiet)
		}
	})
	t.Run("mixed-day: dialogs in sequence, 2% retries, some storms", func(t *testing.T) {
		steps := regexp.MustCompile(`"dialogId":"([^"]+)".*"sequence":(\d+),`)
		latest := map[string]int{}
		var repeated, storms, further int
		deliveries := all("mixed-day", 1, 1_000, 20*time.Second)
		for _, d := range deliveries {
			m := steps.FindStringSubmatch(string(d.body))
			step, _ := strconv.Atoi(m[2])
			switch before := latest[m[1]]; {
			case step == before+1:
				latest[m[1]] = step
				further += min(before, 1)
			case step > before:
				t.Fatalf("dialog %s: step %d after %d", m[1], step, before)
			}
		}
		of := times(deliveries)
		for _, n := range of {
			switch {
			case n == 2:
				repeated++
			case n == 50:
				storms++
			case n != 1:
				t.Errorf("a webhook comes %d times", n)
			}
		}
		if share := float64(repeated) / float64(len(of)); share < 0.015 || share > 0.025 {
			t.Errorf("%.1f%% are retried", share*100)
		}
		if storms < 5 || further < 10_000 {
			t.Errorf("%d storms, %d steps after a dialog's first", storms, further)
		}
	})
	t.Run("slow-logic: a thousand of each within 2 s", func(t *testing.T) {
		for of, n := range times(all("slow-logic", 1, 500, 10*time.Second)) {
			if n != 1_000 {
				t.Errorf("%s comes %d times", of, n)
			}
		}
	})
	t.Run("bad-input: one in five", func(t *testing.T) {
		malformed := 0
		for _, d := range all("bad-input", 1, 1_000, 10*time.Second) {
			if d.malformed {
				malformed++
			}
		}
		if malformed < 1_800 || malformed > 2_200 {
			t.Errorf("%d of 10,000", malformed)
		}
	})
}
