package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
)

// logbook keeps the lines about executions and verdicts.
type logbook struct {
	mu    sync.Mutex
	lines []map[string]any
}

func (l *logbook) Write(text []byte) (int, error) {
	var line map[string]any
	if err := json.Unmarshal(text, &line); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if line["msg"] == "execution" || line["verdict"] != nil {
		l.lines = append(l.lines, line)
	}
	return len(text), nil
}

// last is the newest line; how many there are is told beside it.
func (l *logbook) last() (line map[string]any, lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		return nil, 0
	}
	return l.lines[len(l.lines)-1], len(l.lines)
}

func reporting(of gate.Report) (*logbook, gate.Options) {
	book, o := new(logbook), options()
	o.Report, o.Replica, o.Log = of, "here/1", slog.New(slog.NewJSONHandler(book, nil))
	return book, o
}

func (h *testbed) has(line map[string]any, want map[string]any) {
	h.Helper()
	for field, value := range want {
		if fmt.Sprint(line[field]) != fmt.Sprint(value) {
			h.Errorf("%s is %v, want %v, in %v", field, line[field], value, line)
		}
	}
}

func TestEachExecutionHasOneLineWithWhatAPersonAsksFor(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		book, o := reporting(gate.ReportAll)
		r := h.open(o)
		for n, c := range []struct {
			name string
			ends func() (record.Result, error)
			want map[string]any
		}{
			{"the first one fails for certain", func() (record.Result, error) {
				return record.Result{},
					errors.New("no\nseats")
			},
				map[string]any{"level": "ERROR", "outcome": "failed", "attempt": 1, "cause": "first", "reason": "error",
					"error": "no\nseats"}},
			{"the next one is not sure", func() (record.Result, error) { return record.Result{}, record.ErrOutcomeUnknown },
				map[string]any{"level": "ERROR", "outcome": "failed", "attempt": 2, "cause": "retry after error",
					"reason": "unknown"}},
			{"the next one panics, in doubt", func() (record.Result, error) { panic("a secret") },
				map[string]any{"level": "ERROR", "outcome": "failed", "attempt": 3, "cause": "retry after unknown",
					"in_doubt": true, "error": "panic with a string"}},
			{"the last one does it", func() (record.Result, error) { return answer(`"done"`), nil },
				map[string]any{"level": "WARN", "outcome": "stored", "attempt": 4, "cause": "retry after panic", "in_doubt": true,
					"status": 200, "bytes": 6}},
		} {
			h.setLogic(func(context.Context, int64) (record.Result, error) { return c.ends() })
			webhook := h.request(1, "body")
			r.Do(webhook)
			line, lines := book.last()
			if lines != n+1 {
				t.Fatalf("%s: %d lines", c.name, lines)
			}
			h.has(line, c.want)
			h.has(line, map[string]any{"fingerprint": webhook.Fingerprint, "dialog": "dialog", "node": "node",
				"replica": "here/1"})
			if _, ok := line["took"].(float64); !ok {
				t.Errorf("%s: took %v", c.name, line["took"])
			}
			if text := fmt.Sprint(line); strings.Contains(text, "a secret") || strings.Contains(fmt.Sprint(line["error"]),
				"goroutine") {
				t.Errorf("it says %s", text)
			}
		}
		r.Do(h.request(1, "body"))
		if _, lines := book.last(); lines != 4 {
			t.Errorf("a replay has a line too: %d", lines)
		}
	})
}

func TestOnlyUnusualExecutionsHaveALineUnlessAllAreAskedFor(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		book, o := reporting(gate.ReportUnusual)
		r := h.open(o)
		silent, none := reporting(gate.ReportNone)
		mute := h.open(none)

		r.Do(h.request(1, "body"))
		mute.Do(h.request(2, "body"))
		if line, lines := book.last(); lines != 0 {
			t.Errorf("a plain success has a line: %v", line)
		}
		h.setLogic(func(context.Context, int64) (record.Result, error) {
			return record.Result{Status: 409, ContentType: record.JSON, Body: []byte(`{}`)}, nil
		})
		r.Do(h.request(3, "body"))
		mute.Do(h.request(4, "body"))
		line, _ := book.last()
		h.has(line, map[string]any{"level": "WARN", "outcome": "rejected", "status": 409, "cause": "first"})
		if _, lines := silent.last(); lines != 0 {
			t.Errorf("%d lines where none are wanted", lines)
		}
	})
}

func TestATakeoverHasALineThoughItEndsWell(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		book, o := reporting(gate.ReportUnusual)
		r := h.open(o)
		webhook := h.request(1, "body")
		now := time.Now()
		h.record(1, record.Record{
			State: record.InProgress, Attempt: 1, Token: "crashed", Deadline: now.Add(-time.Second), Lease: 2 * time.Second,
			Started: now.Add(-3 * time.Second), Digest: digestOf("body"),
		})
		r.Do(webhook)
		line, _ := book.last()
		h.has(line, map[string]any{"level": "WARN", "outcome": "stored", "cause": "takeover", "attempt": 2, "in_doubt": true})
	})
}

func TestAnotherBodyThatWaitedIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		book, o := reporting(gate.ReportUnusual)
		r := h.open(o)
		begun, ends := h.blocked()
		first := r.later(1)
		<-begun
		other := h.request(1, "other")
		other.Arrived = time.Now().Add(-o.WaitTimeout) // it joins, and is answered at once
		h.expect(r.Do(other), gate.Processing, "")
		close(ends)
		<-first
		line, _ := book.last()
		h.has(line, map[string]any{"level": "WARN", "outcome": "stored", "another_body": true})
	})
}

func TestAVerdictHasALineOnce(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		book, o := reporting(gate.ReportUnusual)
		o.MaxAttempts = 1
		r := h.open(o)
		h.setLogic(func(context.Context, int64) (record.Result, error) { return record.Result{}, errLogic })
		for range 3 {
			r.Do(h.request(1, "body"))
		}
		line, lines := book.last()
		h.has(line, map[string]any{"level": "WARN", "verdict": "poisoned", "attempt": 1, "reason": "error"})
		if lines != 2 { // the execution's, and this
			t.Errorf("%d lines", lines)
		}
	})
}
