package main

import (
	"slices"
	"strings"
	"time"
)

// scenario says which webhooks are delivered at which times.
type scenario struct {
	name, about string
	beat        func(*schedule)                        // adds deliveries to the schedule, at least one
	pulse       func(at time.Duration) (times float64) // factor of the rate at a time; nil: always 1

	// The defaults, unless a person asks for others.
	rate     float64
	duration time.Duration

	delay time.Duration // shortest time that the logic must take
	kind  kind
}

// kind says in which way a scenario is played.
type kind uint8

const (
	plain   kind = iota
	lasting      // long enough for records to expire
	search       // repeatedly, to find the highest rate
	proxied      // through an nginx that repeats deliveries, while replicas are killed and started again
	beside       // for a tenant, first alone and then beside another one
)

// dialog is a dialog that goes on.
type dialog struct {
	id       string
	sequence int64
}

var scenarios = []*scenario{
	{
		name: "first-time", about: "every webhook is another one",
		rate: 1_000, duration: 30 * time.Second,
		beat: func(s *schedule) { s.deliver(s.webhook(), 0) },
	}, {
		name: "storm", about: "one webhook, again and again",
		rate: 2_000, duration: 30 * time.Second,
		beat: func(s *schedule) { s.deliver(s.storm(s.end), 0) },
	}, {
		name: "retries", about: "each webhook is sent again 1 to 5 times, with backoff and jitter, whether or not the " +
			"first has been answered",
		rate: 1_000, duration: 30 * time.Second,
		beat: func(s *schedule) { s.retried(s.webhook(), 1+s.random.IntN(5)) },
	}, {
		name: "burst", about: "quiet for 4 s, then 20 times the rate for 1 s, again and again; each webhook comes twice",
		rate: 100, duration: 30 * time.Second,
		beat: func(s *schedule) { s.retried(s.webhook(), 1) },
		pulse: func(at time.Duration) float64 {
			if at%(5*time.Second) < 4*time.Second {
				return 1
			}
			return 20
		},
	}, {
		name: "mixed-day", about: "many dialogs in sequence, 2% retries, and now and then a storm of 50 within 200 ms",
		rate: 1_000, duration: time.Minute,
		beat: (*schedule).day,
	}, {
		name: "soak", about: "a mixed day for an hour, to see that nothing grows",
		rate: 500, duration: time.Hour, kind: lasting,
		beat: (*schedule).day,
	}, {
		name: "slow-logic", about: "the first answer takes 2 s (ECHO_DELAY=2s), and a thousand duplicates arrive meanwhile",
		rate: 500, duration: 30 * time.Second, delay: slow,
		beat: func(s *schedule) { s.deliver(s.storm(slow), 0) },
	}, {
		name: "bad-input", about: "one body in five is malformed",
		rate: 1_000, duration: 30 * time.Second,
		beat: func(s *schedule) {
			if s.random.IntN(5) == 0 {
				s.deliver(s.malformed(), 0)
				return
			}
			s.deliver(s.webhook(), 0)
		},
	}, {
		name: "max-rate", about: "the highest rate of a mixed day that keeps p99 under --slo, by bisection; --rate is " +
			"where it begins, --duration how long each try lasts",
		rate: 200, duration: 5 * time.Second, kind: search,
		beat: (*schedule).day,
	}, {
		name: "proxy", about: "every webhook once, to an nginx that repeats what takes long or fails, while replicas are " +
			"killed and started again",
		rate: 100, duration: 30 * time.Second, delay: 400 * time.Millisecond, kind: proxied,
		beat: func(s *schedule) { s.deliver(s.webhook(), 0) },
	}, {
		name: "noisy-neighbour", about: "every webhook of a tenant once: half of the time alone, then beside a tenant " +
			"that sends ten times as many and whose backend hangs",
		rate: 50, duration: 30 * time.Second, kind: beside,
		beat: func(s *schedule) { s.deliver(s.webhook(), 0) },
	},
}

// noise is the load of the noisy tenant: each webhook five times at once.
var noise = &scenario{
	name: "noise",
	beat: func(s *schedule) {
		w := s.webhook()
		for range 5 {
			s.deliver(w, 0)
		}
	},
}

// louder is how many times more than the quiet tenant the noisy one sends.
const louder = 10

const slow = 2 * time.Second

// storm returns the same webhook for a while, then another one.
func (s *schedule) storm(lasts time.Duration) *webhook {
	if s.now >= s.until {
		s.same, s.until = s.webhook(), s.now+lasts
	}
	return s.same
}

// retried delivers a webhook and repeats it after 50 ms, 100 ms, 200 ms, … with a jitter of up to half of that in both
// directions.
func (s *schedule) retried(w *webhook, times int) {
	s.deliver(w, 0)
	var after time.Duration
	for backoff := 50 * time.Millisecond; times > 0; times-- {
		after += backoff/2 + time.Duration(s.random.Int64N(int64(backoff)))
		s.deliver(w, after)
		backoff *= 2
	}
}

// day delivers one step of one of a hundred dialogs; a dialog has up to 20 steps.
func (s *schedule) day() {
	const together, steps = 100, 20
	if s.open == nil {
		s.open = make([]dialog, together)
	}
	d := &s.open[s.random.IntN(together)]
	if d.id == "" || s.random.IntN(steps) == 0 {
		*d = dialog{id: s.dialog()}
	}
	d.sequence++
	w := s.webhookOf(d.id, d.sequence)
	switch chance := s.random.IntN(1_000); {
	case chance < 20:
		s.retried(w, 1)
	case chance == 20:
		for range 50 {
			s.deliver(w, time.Duration(s.random.Int64N(int64(200*time.Millisecond))))
		}
	default:
		s.deliver(w, 0)
	}
}

func names() string {
	var all []string
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return strings.Join(all, ", ")
}

func named(name string) *scenario {
	i := slices.IndexFunc(scenarios, func(s *scenario) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return scenarios[i]
}

// own reports whether a scenario takes replicas of its own.
func (s *scenario) own() bool { return s.kind == proxied || s.kind == beside }

// settings returns the settings of the replicas that are started for a scenario.
func (s *scenario) settings() []string {
	var settings []string
	if s.delay > 0 {
		settings = append(settings, "ECHO_DELAY="+s.delay.String())
	}
	if s.kind == lasting {
		settings = append(settings, "RESULT_TTL=2m", "JOURNAL_AGE=2m") // the number of records levels off within a test
	}
	if s.kind == proxied {
		// The webhooks of a killed replica stay blocked until their leases end.
		settings = append(settings, "LOCK_TTL=1s", "REDIS_TIMEOUT=300ms")
	}
	return settings
}
