package faults_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"time"
)

// counters reads the counters of all replicas through the program's own command.
func (w *world) counters() (map[string]int64, error) {
	command := exec.Command(w.replicas[0].program, "stats", "--json", "--redis-url", w.store.admin())
	command.Env = os.Environ()
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	var fields map[string]any
	if err := json.Unmarshal(out, &fields); err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	sums := make(map[string]int64)
	for name, value := range fields {
		if n, ok := value.(float64); ok {
			sums[name] = int64(n)
		}
	}
	return sums, nil
}

// counts compares the counters with the history, within what the faults allow: a Redis that forgot has counted less, a
// killed replica loses the counts that it had not flushed, and a request whose answer never came may or may not have
// been counted. It returns every rule that does not hold.
func (v *verdict) counts(h *history, m map[string]int64) (wrong []string) {
	var sent, answered, doubtful, executed, well int64
	for _, d := range h.deliveries {
		sent++
		if d.code != 0 {
			answered++
		}
		if d.code != http.StatusOK && d.code != http.StatusInternalServerError {
			doubtful++
		}
	}
	for _, e := range h.executions {
		executed++
		if e.ending == done {
			well++
		}
	}
	hold := func(holds bool, rule string, numbers ...int64) {
		if !holds {
			wrong = append(wrong, fmt.Sprintf("%s: %d, of %v", rule, numbers, m))
		}
	}
	hold(m["duplicates"] == m["replayed"]+m["waited"]+m["still_processing"],
		"duplicates = replayed + waited + still_processing")
	hold(m["replayed_local"] <= m["replayed"], "replayed_local ≤ replayed")
	hold(m["takeovers"] <= m["executed"], "takeovers ≤ executed")
	hold(m["total_requests"] <= sent, "total_requests ≤ requests sent", sent)
	hold(m["stored"] <= well, "stored ≤ executions that ended well", well)
	hold(m["executed"] <= executed+doubtful, "executed ≤ executions + claims whose end nobody knows", executed, doubtful)
	if len(v.losses(forever)) > 0 {
		return wrong
	}
	hold(m["stored"] == int64(len(v.traces)), "stored = webhooks", int64(len(v.traces)))
	hold(m["executed"] >= executed, "executed ≥ executions", executed)
	hold(m["stored"]+m["failed"] <= m["executed"], "stored + failed ≤ executed")
	unflushed := v.unflushed(h)
	hold(m["total_requests"] >= answered-unflushed, "total_requests ≥ answers, but those a killed replica had not flushed",
		answered, unflushed)
	return wrong
}

// unflushed returns how many answers killed replicas may have failed to count: those since the last time when each
// could flush.
func (v *verdict) unflushed(h *history) (n int64) {
	for _, death := range v.spells {
		if death.effect != dead {
			continue
		}
		since := death.from - metricsFlush - late
		for _, s := range slices.Backward(v.spells) { // the last spell first
			if s.effect != harmless && s != death && s.on(death.replica) && s.from <= since && s.to >= since-late {
				since = s.from - metricsFlush - late
			}
		}
		for _, d := range h.deliveries {
			if d.to.replica == death.replica && since <= d.answered && d.answered <= death.from+time.Millisecond && d.code != 0 {
				n++
			}
		}
	}
	return n
}
