package gate

import (
	"context"
	"log/slog"

	"github.com/oncegate/oncegate/internal/meter"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/span"
	"github.com/oncegate/oncegate/scripts"
)

// The spans of a webhook are children of the span of the request that it is claimed for. If nothing is traced, that
// span is nil, and so are all spans here.

// traceClaim begins the span of a claim.
func (r *Request) traceClaim() span.Step {
	if r.Span == nil {
		return nil
	}
	return r.Span.Claim()
}

// claimEnd returns how a claim ended.
func claimEnd(a scripts.Answer, current bool) span.End {
	if !current {
		return span.End{Outcome: "unanswered", Failed: true}
	}
	return span.End{Outcome: string(a.Verdict), Attempt: a.Attempt}
}

// traceBegin begins the span of an execution.
func (e *execution) traceBegin() {
	if s := e.webhook.Span; s != nil {
		e.span = s.Execute(span.Execution{
			Fingerprint: e.flight.fingerprint, Attempt: e.attempt, InDoubt: e.inDoubt, Cause: e.cause,
		})
	}
}

// context returns the logic's context.
func (e *execution) context() context.Context {
	if e.span == nil {
		return &e.lifetime
	}
	return e.span.Within(&e.lifetime)
}

// traceStore begins the span of storing the end of an execution, if it has not begun.
func (e *execution) traceStore() {
	if s := e.webhook.Span; s != nil && e.storing == nil {
		e.storing = s.Store()
	}
}

// traceEnd ends the spans of an execution, and keeps its trace as an example of how long the logic takes. It returns
// the trace's id; "": nothing is traced.
func (b *bucket) traceEnd(e *execution, how Ending, level slog.Level, v scripts.Verdict) (trace string) {
	if e.span == nil {
		return ""
	}
	if e.storing != nil {
		e.storing.End(span.End{Outcome: string(v), Attempt: e.attempt, Failed: v == scripts.Error || v == scripts.Refused})
	}
	end := span.End{
		Outcome: how.String(), Reason: e.end.Reason, Attempt: e.attempt, Failed: level == slog.LevelError,
	}
	if e.took > 0 { // the logic has run
		end.At = e.began.Add(e.took)
	}
	if e.end.State == record.Done {
		end.Status = e.end.Result.Status
	}
	e.span.End(end)
	trace, recorded := e.webhook.Span.Trace()
	if recorded {
		b.gate.meters.took.Exemplify(e.took.Seconds(), trace)
	}
	return trace
}

// Exemplars are traces of executions, as examples of how long the logic takes.
func (g *Gate) Exemplars() []meter.Exemplar { return g.meters.took.Exemplars() }
