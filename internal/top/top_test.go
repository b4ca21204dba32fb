package top

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/oncegate/oncegate/internal/dashboard"
)

// storm is a state in which one was absorbed.
func storm() *dashboard.State {
	s := &dashboard.State{
		Verdicts: []dashboard.Verdict{{Level: dashboard.Well, Sentence: "All is well."}},
		Window:   dashboard.Totals{Deliveries: 18204, Executions: 1}, Executing: 1, Waiting: 12, OldestMS: 1500,
		All:     dashboard.Totals{Deliveries: 20204, Executions: 7},
		Latency: []dashboard.Latency{{Outcome: "still_processing", Count: 1234, P50: 0.25, P99: 7000}},
		Hot: []dashboard.Hot{
			{Fingerprint: strings.Repeat("ab", 32), Duplicates: 18203, State: "done", Attempt: 1},
			{Fingerprint: strings.Repeat("cd", 32), Duplicates: 5, Error: 2, State: "running", Attempt: 2},
		},
		Replicas: []dashboard.Replica{{Name: "gateway-1/7", Health: "well", Rate: 500, Executing: 1, Waiting: 12},
			{Name: "gateway-2\x1b[2J/7", Health: "gone"}},
	}
	for i := range int64(30) {
		second := [3]int64{i, 0, 0}
		if i >= 20 && i < 23 {
			second[1] = 6068
		}
		if i == 20 {
			second[2] = 1
		}
		s.Seconds = append(s.Seconds, second)
	}
	return s
}

func TestAFrameTellsWhatThePageTells(t *testing.T) {
	text := frame(storm(), nil, 100, 40, plain)
	for _, want := range []string{
		"All is well.", "18,204 deliveries arrived, 1 executed (last 30s)\n1 running (oldest 1.5s), 12 waiting\n" +
			"In all, by Redis' counters: 20,204 answered, 7 executed\n",
		"███", "▀", "still processing          1,234        250µs           7s", "abababababababab         18,203",
		"cdcdcdcdcdcdcdcd             ≤5        2  running", "gateway-1/7", "gone",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("a name of another replica's steers the terminal:\n%q", text)
	}
	text = frame(storm(), errors.New("refused"), 100, 40, plain)
	if !strings.Contains(text, "the connection is lost: refused") || strings.Contains(text, "All is well.") {
		t.Errorf("that the connection is lost is not in, or what nobody knows is\n%s", text)
	}
}

func TestAFrameFitsItsWindow(t *testing.T) {
	for _, size := range [][2]int{{40, 12}, {80, 24}, {200, 60}, {61, 13}} {
		lines := strings.Split(frame(storm(), nil, size[0], size[1], plain), "\n")
		if len(lines) > size[1] {
			t.Errorf("%d lines in a window of %d", len(lines), size[1])
		}
		for _, line := range lines[2:] { // the first two lines wrap if a terminal is narrow
			if n := utf8.RuneCountInString(line); n > size[0] {
				t.Errorf("a line of %d in a window of %d: %s", n, size[0], line)
			}
		}
	}
	if text := frame(storm(), nil, 10, 5, plain); text != "make the window larger" {
		t.Errorf("a tiny window shows %q", text)
	}
}

func TestWhatIsNotNothingIsSeen(t *testing.T) {
	s := &dashboard.State{Seconds: [][3]int64{{0, 1_000_000, 1}, {1, 1, 0}}}
	lines := picture(s, 60, plain)
	if lowest := lines[rowsUp-1]; !strings.HasSuffix(lowest, "█▁") {
		t.Errorf("one delivery beside a million is not seen: %q", lowest)
	}
	if below := lines[rowsUp+1]; !strings.HasSuffix(below, "▀ ") {
		t.Errorf("one execution below a million deliveries is not seen: %q", below)
	}
	s = &dashboard.State{Seconds: [][3]int64{{0, 500, 500}}}
	lines = picture(s, 60, plain)
	if !strings.HasSuffix(lines[rowsUp+1], "█") || !strings.HasSuffix(lines[rowsUp+2], "█") {
		t.Errorf("where all is executed both are on one scale:\n%s", strings.Join(lines, "\n"))
	}
}
