package dashboard

import (
	"fmt"
	"slices"
	"time"

	"github.com/oncegate/oncegate/internal/replicas"
)

// Level says how urgent a verdict is for a person.
type Level string

// The levels.
const (
	Well    Level = "well"
	Warning Level = "warning" // look into it today
	Bad     Level = "bad"     // look into it now
)

// Verdict is one sentence about the state of the gateway, and what to do.
type Verdict struct {
	Level    Level  `json:"level"`
	Alert    string `json:"alert"` // the alert of the same rule, and the heading in docs/runbooks.md; "" if all is well
	Sentence string `json:"sentence"`
	Do       string `json:"do"`
}

// whole is the data that rules examine.
type whole struct {
	replicas.View
	last5m  replicas.Second // sums
	last1m  replicas.Second
	cluster Cluster
	now     time.Time

	undecided int // webhooks that wait for a person, as far as replicas know
}

// mayWait reports whether a webhook may wait for a person: replicas know of one, the last sweep found one, or a
// delivery was told so since that sweep.
func (w *whole) mayWait() bool {
	return w.undecided > 0 || w.cluster.Undecided != 0 || slices.ContainsFunc(w.Seconds, func(s replicas.Second) bool {
		return s[replicas.Judged] > 0 && s[replicas.At] >= w.cluster.Swept
	})
}

// rule is one of the alerts of deploy/prometheus/alerts.yaml, decided by the numbers that all replicas have.
type rule struct {
	alert string
	level Level
	// holds returns a sentence if the rule holds, otherwise "".
	holds func(w *whole) string
	do    string
}

// count returns for how many replicas a condition holds.
func (w *whole) count(holds func(l *replicas.Seen) bool) (n int) {
	for i := range w.Replicas {
		if !w.Replicas[i].Gone && holds(&w.Replicas[i]) {
			n++
		}
	}
	return n
}

// says returns a sentence about n things, or "" if there are none.
func says(n int, one, many string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return one
	}
	return fmt.Sprintf(many, n)
}

// rules are all rules, the gravest first.
var rules = []rule{
	{"OncegateRedisAway", Bad, func(w *whole) string {
		return says(w.count(func(l *replicas.Seen) bool { return !l.RedisUp }),
			"Redis does not answer: new webhooks are answered 503.",
			"Redis does not answer %d replicas: new webhooks are answered 503.")
	}, "Look whether Redis runs and can be reached. Replays go on, and what was begun is stored when it is back."},
	{"OncegateRedisRefusing", Bad, func(w *whole) string {
		return says(w.count(func(l *replicas.Seen) bool { return l.RefusesWrites }),
			"Redis takes no writes: new webhooks are answered 503.",
			"Redis takes no writes of %d replicas: new webhooks are answered 503.")
	}, "Look at its memory (maxmemory), its disk (MISCONF) and its role (READONLY). Replays go on."},
	{"OncegateBreakerOpen", Bad, func(w *whole) string {
		return says(w.count(func(l *replicas.Seen) bool { return l.Backend != nil && l.Backend.BreakerOpen }),
			"The backend gets no requests: it failed again and again, or asked for a pause.",
			"The backend gets no requests from %d replicas: it failed again and again, or asked for a pause.")
	}, "Look at the backend. A probe is sent every UPSTREAM_BREAKER_PAUSE, and the first success ends it."},
	{"OncegateExecutionsFailing", Bad, func(w *whole) string {
		failed, ended := w.last1m[replicas.Failed], w.last1m[replicas.Ended]
		if failed < 3 || failed*10 < ended {
			return ""
		}
		return fmt.Sprintf("Executions fail: %d of %d in the last minute.", failed, ended)
	}, "Look at the failures below for their reasons, and at the backend. A webhook that comes again is executed again."},
	{"OncegateSaturated", Bad, func(w *whole) string {
		return says(int(w.last1m[replicas.Overloaded]),
			"A webhook was turned away, because more runs or waits than may.",
			"%d webhooks were turned away in the last minute, because more run or wait than may.")
	}, "Add replicas, make the backend faster, or raise MAX_EXECUTIONS and MAX_WAITERS."},
	{"OncegateRateLimited", Warning, func(w *whole) string {
		return says(int(w.last1m[replicas.Limited]),
			"A webhook was put off, because its tenant has begun as many executions as it may.",
			"%d webhooks were put off in the last minute, because their tenants have begun as many executions as they may.")
	}, "Their callers come again. If this lasts, raise the tenant's executions_per_second, or find what sends so much."},
	{"OncegateReplicaGone", Warning, func(w *whole) string {
		gone := 0
		for i := range w.Replicas {
			if w.Replicas[i].Gone {
				gone++
			}
		}
		return says(gone, "A replica is gone: it was silent without having said goodbye.",
			"%d replicas are gone: they were silent without having said goodbye.")
	}, "Look why it ended. Others take over what it was executing when LOCK_TTL is over."},
	{"OncegatePoisoned", Warning, func(w *whole) string {
		if !w.mayWait() {
			return ""
		}
		return says(int(w.last5m[replicas.Judged]),
			"A delivery was told that its webhook is not executed until a person decides.",
			"%d deliveries were told that their webhook is not executed until a person decides.")
	}, "Look at those that wait for a person below; then oncegate resolve, or forget."},
	{"OncegateLeasesLost", Warning, func(w *whole) string {
		return says(int(w.last5m[replicas.LeasesLost]),
			"An execution was overtaken by another one: its work may have been done twice.",
			"%d executions were overtaken by others: their work may have been done twice.")
	}, "Look for replicas that froze (memory, CPU limits) or lost Redis for LOCK_TTL."},
	{"OncegateOverdue", Warning, func(w *whole) string {
		return says(int(w.cluster.Overdue),
			"An execution is without an outcome for longer than EXECUTION_TIMEOUT.",
			"%d executions are without an outcome for longer than EXECUTION_TIMEOUT.")
	}, "Its logic does not return, or its replica crashed and nobody sent the webhook again: oncegate inspect tells."},
	{"OncegateSettling", Warning, func(w *whole) string {
		left := w.cluster.Settled.Sub(w.now)
		if left <= 0 || left > time.Minute {
			return ""
		}
		return "Redis was restarted, failed over or flushed: new work waits until replicas have put back what it lost."
	}, "Wait some seconds. If this comes again and again, look why Redis does not stay up."},
	{"OncegateHistoryChurn", Warning, func(w *whole) string {
		if n := w.last5m[replicas.Losses]; n > 5*int64(len(w.Replicas)) {
			return fmt.Sprintf("Connections to Redis are lost again and again: %d times in five minutes.", n)
		}
		return ""
	}, "Look at Redis, its failovers, and what lies between it and the replicas."},
}

// judge returns the verdicts of the rules that hold, the gravest first; if none holds, that all is well.
func judge(w *whole) (all []Verdict) {
	for _, r := range rules {
		if sentence := r.holds(w); sentence != "" {
			all = append(all, Verdict{r.level, r.alert, sentence, r.do})
		}
	}
	if len(all) == 0 {
		all = []Verdict{{Level: Well, Sentence: "All is well."}}
	}
	return all
}

// Alerts returns the names of all rules.
func Alerts() (names []string) {
	for _, r := range rules {
		names = append(names, r.alert)
	}
	return names
}
