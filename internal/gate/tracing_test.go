package gate

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/span"
	"github.com/oncegate/oncegate/scripts"
)

// followed is a span of a request that notes how the steps below it ended.
type followed struct {
	span.Request
	testing.TB

	mu    sync.Mutex
	open  int
	ended []string
}

// followedStep is one of them.
type followedStep struct {
	*followed
	name  string
	ended bool
}

func (f *followed) step(name string) *followedStep {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	return &followedStep{f, name, false}
}

func (f *followed) Claim() span.Step { return f.step("claim") }

func (f *followed) Store() span.Step { return f.step("store") }

func (f *followed) Execute(span.Execution) span.Execute { return f.step("execute") }

func (f *followed) Trace() (id string, recorded bool) { return "trace", true }

func (s *followedStep) Within(ctx context.Context) context.Context { return ctx }

func (s *followedStep) End(e span.End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		s.Errorf("%s ends twice", s.name)
	}
	s.ended = true
	s.open--
	how := s.name + ": " + e.Outcome
	if e.Failed {
		how += ", an error"
	}
	s.followed.ended = append(s.followed.ended, how)
}

// expect fails unless the steps have ended so, and no other is open.
func (f *followed) expect(ended ...string) {
	f.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open != 0 || !slices.Equal(f.ended, ended) {
		f.Errorf("%d spans are open, and these have ended: %q, want %q", f.open, f.ended, ended)
	}
}

// TestEachSpanEndsOnceWhateverBecomesOfItsExecution follows executions that end in each of the ways that there are.
func TestEachSpanEndsOnceWhateverBecomesOfItsExecution(t *testing.T) {
	for name, c := range map[string]struct {
		logic func(a *alone, e *execution) (record.Result, error)
		ended []string
	}{
		"stored": {func(*alone, *execution) (record.Result, error) {
			return record.Result{Status: 200, ContentType: record.JSON, Body: []byte("1")}, nil
		}, []string{"claim: claimed", "store: stored", "execute: stored"}},
		"failed": {func(*alone, *execution) (record.Result, error) { return record.Result{}, errors.New("no") },
			[]string{"claim: claimed", "store: failed", "execute: failed, an error"}},
		"it ended its goroutine": {func(*alone, *execution) (record.Result, error) {
			runtime.Goexit()
			return record.Result{}, nil
		}, []string{"claim: claimed", "store: failed", "execute: failed, an error"}},
		"overtaken while it ran": {func(a *alone, e *execution) (record.Result, error) {
			redisForgets(a)
			a.leaseLost(e, forgotten)
			return record.Result{Status: 200, ContentType: record.JSON, Body: []byte("1")}, nil
		}, []string{"claim: claimed", "execute: overtaken, an error"}},
		"overtaken without being told": {func(a *alone, _ *execution) (record.Result, error) {
			redisForgets(a)
			return record.Result{Status: 200, ContentType: record.JSON, Body: []byte("1")}, nil
		}, []string{"claim: claimed", "store: refused, an error", "execute: overtaken, an error"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder // written by one goroutine at a time
			a := newAlone(t, func(o *Options) { o.Log, o.Report = slog.New(slog.NewTextHandler(&log, nil)), ReportAll })
			f := &followed{TB: t}
			a.do(Request{Tenant: a.nameless(), Fingerprint: named(1), Arrived: time.Now(), Span: f, Source: does(
				func(context.Context) (record.Result, error) {
					a.executions.mu.Lock()
					e := a.executions.first
					a.executions.mu.Unlock()
					return c.logic(a, e)
				})})
			a.gate.running.Wait()
			f.expect(c.ended...)
			for line := range strings.Lines(log.String()) {
				if !strings.Contains(line, "trace_id=trace") || !strings.Contains(line, "attempt=1") {
					t.Errorf("a line does not name the execution's trace: %s", line)
				}
			}
			if log.Len() == 0 {
				t.Error("there is no line")
			}
		})
	}

	t.Run("overtaken before it ran", func(t *testing.T) {
		a, f := newAlone(t, nil), &followed{TB: t}
		fl := newFlight(a.bucket, a.asks(named(1), record.Digest{}))
		a.nameless().use.executing.Add(1)
		won := link.Won{Reply: link.Reply{Fact: link.Told(a.link, scripts.Answer{}), Sent: time.Now()}}
		a.begin(fl, Request{Tenant: a.nameless(), Span: f}, won, scripts.Answer{Attempt: 1})
		redisForgets(a)
		a.gate.drive = func(*flight) { a.gate.running.Done() }
		a.leaseLost(fl.execution, forgotten)
		fl.phase = executing
		fl.drive()
		a.gate.running.Wait()
		f.expect("execute: overtaken, an error")
	})

	t.Run("nobody answers", func(t *testing.T) {
		a := newAlone(t, func(o *Options) { o.RedisPatience = 10 * time.Millisecond })
		f := &followed{TB: t}
		a.engine.Says("EVALSHA", "-READONLY You can't write against a read only replica.")
		a.do(Request{Tenant: a.nameless(), Fingerprint: named(1), Arrived: time.Now(), Span: f, Source: does(
			func(context.Context) (record.Result, error) { return record.Result{}, nil })})
		a.gate.running.Wait()
		f.expect("claim: unanswered, an error")
	})
}
