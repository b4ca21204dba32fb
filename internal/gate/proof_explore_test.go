package gate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// found is the outcome of an exploration.
type found struct {
	states, depth, waived int
	violation             string
	trace                 []string
}

// explore goes through all states breadth first, until one breaks a promise; then it looks whether from each of them
// every webhook that came can still get its outcome, with no more faults and without anybody giving up.
func (m *model) explore() (f found) {
	start := m.sorted(m.first(), nil)
	seen := map[state]int32{start: 0}
	all, parents := []state{start}, []int32{-1}
	var edges [][2]int32
	level := 1
	for k := 0; k < len(all) && f.violation == ""; k++ {
		if k == level {
			f.depth++
			level = len(all)
		}
		from := all[k]
		m.follow(from, func(to state, e event) {
			if f.violation != "" {
				return
			}
			if m.waived(from, e) {
				f.waived++
				return
			}
			to = m.sorted(to, nil)
			number, known := seen[to]
			if !known {
				number = int32(len(all))
				seen[to] = number
				all, parents = append(all, to), append(parents, int32(k))
			}
			if !e.fault {
				edges = append(edges, [2]int32{int32(k), number})
			}
			if f.violation = m.violation(from, to, e); f.violation != "" {
				f.trace = m.trace(all, parents, int32(k), to)
			}
		})
	}
	f.states = len(all)
	if f.violation == "" {
		if k := m.stuck(all, edges); k >= 0 {
			f.violation = "a webhook can never be answered"
			f.trace = m.trace(all, parents, parents[k], all[k])
		}
	}
	return f
}

// stuck returns the first state from which no state can be reached in which every flight has landed; -1: there is none.
func (m *model) stuck(all []state, edges [][2]int32) int {
	slices.SortFunc(edges, func(a, b [2]int32) int { return int(a[1]) - int(b[1]) })
	begin := make([]int32, len(all)+1)
	for _, e := range edges {
		begin[e[1]+1]++
	}
	for i := range all {
		begin[i+1] += begin[i]
	}
	ends := make([]bool, len(all))
	var queue []int32
	for k, s := range all {
		if m.quiet(s) {
			ends[k] = true
			queue = append(queue, int32(k))
		}
	}
	for len(queue) > 0 {
		k := queue[0]
		queue = queue[1:]
		for _, e := range edges[begin[k]:begin[k+1]] {
			if !ends[e[0]] {
				ends[e[0]] = true
				queue = append(queue, e[0])
			}
		}
	}
	return slices.Index(ends, false)
}

// trace tells how a state came about, with replicas and webhooks named.
func (m *model) trace(all []state, parents []int32, from int32, last state) []string {
	path := []state{last}
	for k := from; k >= 0; k = parents[k] {
		path = append(path, all[k])
	}
	slices.Reverse(path)
	order := []int{1, 2, 3}[:m.scope.replicas]
	var lines []string
	for i := 1; i < len(path); i++ {
		found := false
		m.follow(path[i-1], func(to state, e event) {
			if found {
				return
			}
			after := slices.Clone(order)
			if m.sorted(to, after) != path[i] {
				return
			}
			found = true
			line := e.what
			if e.replica >= 0 {
				line = fmt.Sprintf("replica %d: %s", order[e.replica], e.what)
			}
			if e.call != 0 {
				c := m.calls.all[e.call]
				line += " a " + c.operation() + " of " + strings.Join(c.operations(), " ")
				line = strings.ReplaceAll(line, string(proofDigest.AppendText(nil)), "…")
				line += " → " + say(m.apply(path[i-1].data, e.call).reply)
			}
			lines = append(lines, line)
			order = after
		})
	}
	return lines
}

// say is a reply's answers on one line.
func say(reply string) string {
	words := strings.FieldsFunc(reply, func(c rune) bool { return c == '\r' || c == '\n' })
	words = slices.DeleteFunc(words, func(w string) bool { return w[0] == '*' || w[0] == '$' })
	return strings.Join(words, " ")
}

func (f found) report(t testing.TB, began time.Time) {
	t.Helper()
	t.Logf("%d states, depth %d, %d ways out of what is promised, %.1f s", f.states, f.depth, f.waived,
		time.Since(began).Seconds())
	if f.violation != "" {
		t.Logf("%s:\n  %s", f.violation, strings.Join(f.trace, "\n  "))
	}
}
