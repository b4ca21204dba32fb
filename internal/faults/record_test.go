package faults_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// The events of a fingerprint's record, for porcupine: an attempt is claimed, its result is stored, a result is told,
// and Redis may forget. A claim happens between the first delivery and the beginning of the execution. A store happens
// between the end of the execution and the first answer that tells its result.
type (
	claims  struct{ attempt int64 }
	stores  struct{ told }
	tells   struct{ told }
	forgets struct{ result bool } // result: also a result, since no replica was there to put it back
)

type told struct {
	attempt int64
	data    string
}

// stands has the state of the record: the last attempt that was claimed, and the result if one is stored.
type stands struct {
	attempt int64
	result  told
}

// recordModel is the record as a person imagines it: attempts only grow, only the last one may store, and once there is
// a result nothing is claimed or stored any more.
var recordModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{stands{}} },
	Step: func(state, input, _ any) []any {
		s, _ := state.(stands)
		decided := s.result != told{}
		switch in := input.(type) {
		case claims:
			if !decided && in.attempt > s.attempt {
				return []any{stands{attempt: in.attempt}}
			}
		case stores:
			if !decided && in.attempt >= s.attempt {
				return []any{stands{in.attempt, in.told}}
			}
		case tells:
			if s.result == in.told {
				return []any{s}
			}
		case forgets:
			if decided && !in.result {
				return []any{s}
			}
			return []any{s, stands{}}
		}
		return nil
	},
	DescribeOperation: func(input, _ any) string {
		switch in := input.(type) {
		case claims:
			return fmt.Sprintf("claim attempt %d", in.attempt)
		case stores:
			return fmt.Sprintf("store %s", in.data)
		case tells:
			return fmt.Sprintf("tell %s", in.data)
		case forgets:
			return "Redis forgets"
		}
		return "?"
	},
	DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
}).ToModel()

// operations returns a webhook's history as operations on the model.
func (v *verdict) operations(t *trace) (operations []porcupine.Operation) {
	if len(t.deliveries) == 0 {
		return nil
	}
	add := func(client int, input any, call, back time.Duration) {
		operations = append(operations, porcupine.Operation{ClientId: client, Input: input, Call: int64(call),
			Return: int64(back)})
	}
	first, last := t.deliveries[0].sent, time.Duration(0)
	toldAt := make(map[string]time.Duration) // when a result was first told
	for _, d := range t.deliveries {
		last = max(last, d.answered)
		if d.code == http.StatusOK {
			add(d.to.replica, tells{told{d.attempt, d.data}}, d.sent, d.answered)
			if at, ok := toldAt[d.data]; !ok || d.answered < at {
				toldAt[d.data] = d.answered
			}
		}
	}
	for _, e := range t.executions {
		add(10+e.by.replica, claims{e.attempt}, first, e.begin)
		if at, ok := toldAt[e.data]; ok && e.ending == done {
			add(10+e.by.replica, stores{told{e.attempt, e.data}}, e.end, max(at, e.end))
		}
	}
	for _, loss := range v.losses(last) {
		if loss.to+healed >= first {
			add(20, forgets{result: v.lost(t, loss)}, loss.from, loss.to+healed)
		}
	}
	return operations
}

// linearizes checks that the record was in one state at a time.
func (v *verdict) linearizes(t *trace) {
	result := porcupine.CheckOperationsTimeout(recordModel, v.operations(t), 10*time.Second)
	switch {
	case result == porcupine.Ok:
	case result == porcupine.Unknown:
		v.excuses("too many interleavings to check", t)
	case v.everForgotten(t, forever): // a replica that was away may tell an old answer for a while
		v.excuses("not linearizable: Redis forgot, and who knew the result was gone or away", t)
	case v.putBackLate(t, forever):
		v.excuses("not linearizable: Redis forgot, and who knew of an attempt came back late", t)
	default:
		v.breaks(linearizable, t, "see its drawing")
	}
}

// draw writes a webhook's history as a page for a browser.
func (v *verdict) draw(hook, dir string) (string, error) {
	_, info := porcupine.CheckOperationsVerbose(recordModel, v.operations(v.traces[hook]), 10*time.Second)
	path := filepath.Join(dir, strings.ReplaceAll(hook, "/", "-")+".html")
	return path, porcupine.VisualizePath(recordModel, info, path)
}
