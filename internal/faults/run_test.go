package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// build builds the program. overlay replaces files of the tree, by their path from the root, with other files.
func build(t *testing.T, overlay map[string]string, flags ...string) (program string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(t.TempDir(), "oncegate")
	replaced := make([]string, 0, len(overlay))
	for path, file := range overlay {
		replaced = append(replaced, fmt.Sprintf("%q:%q", filepath.Join(root, path), file))
	}
	over := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(over, fmt.Appendf(nil, `{"Replace":{%s}}`, strings.Join(replaced, ",")), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("go", append(append([]string{"build", "-overlay", over, "-o", program}, flags...), root)...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// run plays a schedule under load, waits until nothing is under way, and judges the history.
func (w *world) run(seed uint64, strikes []strike, crowd int, mix mix, patience time.Duration) *verdict {
	w.t.Helper()
	running, stop := context.WithCancel(w.t.Context())
	defer stop()
	watching, rest := context.WithCancel(w.t.Context())
	w.history.began = time.Now()
	c := newCallers(running, w.history, w.replicas, seed, patience)
	var watchers sync.WaitGroup
	watchers.Go(func() { w.watchMachine(watching) })
	watchers.Go(func() { w.progress(watching, c) })
	c.start(crowd, mix)
	w.suffer(strikes)
	stop()
	c.drain()
	c.audit()
	rest()
	watchers.Wait()
	w.history.close()

	v := judge(w.history, c.lost, w.strict)
	if len(c.lost) == 0 {
		w.compareCounters(v)
	}
	w.t.Logf("seed %d\n%s", seed, w.table(v, c))
	w.keepTraces(v, c)
	return v
}

// compareCounters waits until the counters fit the history and the trail: the last counts arrive after METRICS_FLUSH.
func (w *world) compareCounters(v *verdict) {
	var wrong []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(metricsFlush) {
		m, err := w.counters()
		events, unread := w.trail()
		if err = errors.Join(err, unread); err != nil {
			wrong = []string{err.Error()}
			continue
		}
		if wrong = append(v.counts(w.history, m), tellsOfEach(events, m)...); len(wrong) == 0 {
			return
		}
	}
	for _, what := range wrong {
		v.violations = append(v.violations, violation{counted, "all", what})
	}
}

// progress logs every ten seconds how far the run is.
func (w *world) progress(ctx context.Context, c *callers) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.history.mu.Lock()
			faults, now := len(w.history.spells), "nothing is broken"
			if faults > 0 && w.history.spells[faults-1].to == forever {
				now = w.history.spells[faults-1].kind
			}
			w.history.mu.Unlock()
			w.t.Logf("%4.0f s: %7d webhooks answered, %3d faults, now: %s", w.history.now().Seconds(), c.answered.Load(),
				faults, now)
		}
	}
}

// table describes a run and its outcome.
func (w *world) table(v *verdict, c *callers) string {
	kinds := make(map[string]int)
	for _, s := range v.spells {
		kinds[s.kind]++
	}
	text := new(strings.Builder)
	table := tabwriter.NewWriter(text, 0, 0, 2, ' ', tabwriter.AlignRight|tabwriter.DiscardEmptyColumns)
	row := func(n any, what string) { fmt.Fprintf(table, "%v\t  %s\n", n, what) }
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		row(kinds[kind], kind)
	}
	row(len(v.spells), fmt.Sprintf("faults of %d kinds", len(kinds)))
	row(c.answered.Load(), "webhooks answered with their result")
	row(len(w.history.deliveries), "requests, with retries")
	row(len(v.traces), "different webhooks")
	row(len(w.history.executions), "executions")
	row(time.Duration(c.gap.Load()).Round(10*time.Millisecond), "longest pause: nobody was answered")
	row(time.Duration(c.longest.Load()).Round(10*time.Millisecond), "longest that one webhook took, with its retries")
	for _, reason := range slices.Sorted(maps.Keys(v.excused)) {
		row(len(v.excused[reason]), "excused, "+reason)
	}
	row(len(v.violations), "violations")
	_ = table.Flush()
	return text.String()
}

// keepTraces writes the traces of the slowest webhook, and of the first webhooks that needed each excuse.
func (w *world) keepTraces(v *verdict, c *callers) {
	text := new(strings.Builder)
	if slowest := c.slowest.Load(); slowest != nil {
		fmt.Fprintf(text, "slowest: %s\n%s\n", *slowest, v.explain(*slowest))
	}
	for _, reason := range slices.Sorted(maps.Keys(v.excused)) {
		for _, hook := range v.excused[reason][:min(5, len(v.excused[reason]))] {
			fmt.Fprintf(text, "%s: %s\n%s\n", reason, hook, v.explain(hook))
		}
	}
	if err := os.WriteFile(filepath.Join(w.t.ArtifactDir(), "traces.txt"), []byte(text.String()), 0o600); err != nil {
		w.t.Error(err)
	}
}

// expectNone fails the test if there are violations, and shows the traces and drawings of the first ones.
func (w *world) expectNone(v *verdict) {
	w.t.Helper()
	for i, violation := range v.violations {
		if i == 10 {
			w.t.Errorf("… and %d more", len(v.violations)-i)
			break
		}
		w.t.Errorf("%v\n%s", violation, v.explain(violation.hook))
		if v.traces[violation.hook] != nil && violation.promise == linearizable {
			page, err := v.draw(violation.hook, w.t.ArtifactDir())
			w.t.Logf("its drawing: %s (%v)", page, err)
		}
	}
}
