package faults_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// mutant is a gateway with one broken rule: in a copy of one of its files, or by a setting.
type mutant struct {
	name  string
	file  string
	edits []string // pairs: a text of the file, and the text that replaces it
	env   []string

	fault    string // kind of the fault under which the broken rule shows
	takes    time.Duration
	times    int
	mix      mix
	promises []string // the checker must find one of them broken
	quick    bool     // ./test.sh runs it too
}

const script = "scripts/idempotency.lua"

// Mixes under which a mutant is likely to show: many executions at once, and many duplicates.
var (
	manyRun  = mix{long: 500, twice: 800, again: 500, old: 500}
	manyLast = mix{veryLong: 500, twice: 800, again: 500}
)

var mutants = []mutant{
	{
		name: "a store does not look at the attempt", file: script,
		edits: []string{"if not may_end(r, tonumber(attempt), token) then", "if false then"},
		fault: requestsHeldUp, takes: 6 * time.Second, times: 1, mix: manyRun,
		promises: []string{equalAnswers, linearizable},
	},
	{
		name: "settling is ignored", file: script,
		edits: []string{"local function settling()\n", "local function settling()\n  if true then return nil end\n"},
		fault: withoutData, takes: 700 * time.Millisecond, times: 6, mix: manyRun, promises: []string{noOverlap, onceAnswered,
			withoutCause},
	},
	{
		name: "nothing is restored", file: script,
		edits: []string{"local function restore(key, _, value)\n",
			"local function restore(key, _, value)\n  if true then return { 'stored' } end\n"},
		fault: flushAll, times: 1, mix: manyRun, promises: []string{onceAnswered, withoutCause},
	},
	{
		name: "a lease is ignored", file: script,
		edits: []string{"if r.deadline <= now then -- it crashed", "if true then"},
		fault: "SCRIPT FLUSH", times: 1, mix: manyRun, promises: []string{noOverlap},
	},
	{
		name: "a gate ignores its own clock", file: "internal/gate/executions.go",
		edits: []string{
			"time.AfterFunc(l.Left(), s.fence)", "time.AfterFunc(l.Left(), func() { _ = s.fence })",
			"\t\tif e.lease.Over() {\n\t\t\te.lifetime.cancel(record.ErrLeaseLost)\n\t\t}\n", "",
		},
		fault: oneCutOff, takes: 5 * time.Second, times: 1, mix: manyLast, promises: []string{noOverlap}, quick: true,
	},
	{
		name: "no journal", env: []string{"JOURNAL_BYTES=0"},
		fault: flushAll, times: 1, mix: manyRun, promises: []string{onceAnswered, withoutCause}, quick: true,
	},
	{
		name: "no settling", env: []string{"SETTLE=0"},
		fault: withoutData, takes: 700 * time.Millisecond, times: 6, mix: manyRun, promises: []string{noOverlap, onceAnswered,
			withoutCause},
	},
}

// TestTheCheckerFindsWhatIsBroken runs each mutant, which breaks a promise under the fault that its rule protects
// against. The checker must notice.
func TestTheCheckerFindsWhatIsBroken(t *testing.T) {
	_, long := budget(t)
	if !long {
		t.Parallel()
	}
	for _, m := range mutants {
		if !m.quick && !long {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for try := range 3 { // timing decides what a fault hits
				v := m.play(t, seed(t)+uint64(try))
				found := slices.IndexFunc(v.violations, func(found violation) bool {
					return slices.Contains(m.promises,
						found.promise)
				})
				if found >= 0 {
					t.Logf("found: %v\n%s", v.violations[found], v.explain(v.violations[found].hook))
					return
				}
				t.Logf("nothing of %q was found broken, but %v", m.promises, v.violations)
			}
			t.Error("the checker does not find it")
		})
	}
}

// play runs the mutant in a world, under its fault.
func (m mutant) play(t *testing.T, seed uint64) *verdict {
	s := startAlone(t, false)
	all := s.faults()
	fault := all[slices.IndexFunc(all, func(f fault) bool { return f.kind == m.fault })]
	var strikes []strike
	for i := range m.times {
		s := strike{fault: fault, replica: everybody, at: time.Duration(i)*(m.takes+500*time.Millisecond) +
			500*time.Millisecond, takes: m.takes}
		if s.one {
			s.replica = i
		}
		strikes = append(strikes, s)
	}
	return open(t, m.build(t), s, m.env...).run(seed, strikes, 32, m.mix, 5*time.Second)
}

// build builds the program with the mutant's file in place of the tree's.
func (m mutant) build(t *testing.T) (program string) {
	t.Helper()
	if m.file == "" {
		return build(t, nil)
	}
	file := filepath.Join(t.TempDir(), filepath.Base(m.file))
	if err := os.WriteFile(file, []byte(m.changed(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	return build(t, map[string]string{m.file: file})
}

// changed returns the content of the mutant's file.
func (m mutant) changed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	changed := string(text)
	for i := 0; i < len(m.edits); i += 2 {
		if strings.Count(changed, m.edits[i]) != 1 {
			t.Fatalf("%s does not have once: %s", m.file, m.edits[i])
		}
		changed = strings.Replace(changed, m.edits[i], m.edits[i+1], 1)
	}
	return changed
}

// TestEveryMutantHasSomethingToBreak checks, for mutants that only the long run plays too, that the code still has the
// text that they change.
func TestEveryMutantHasSomethingToBreak(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if m.file != "" {
				m.changed(t)
			}
		})
	}
}
