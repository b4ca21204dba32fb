// Package span is what the way of a webhook knows of traces: steps that begin and end. Which library records them, and
// where they go, only package tracing knows. Without it there are no spans: whoever may have one compares it with nil
// first, and that is all that traces cost while they are off.
package span

import (
	"context"
	"strings"
	"time"
)

// Tracer begins the spans of requests.
type Tracer interface {
	// Arrive begins the span of a request that brings a webhook to a route, such as /t/{tenant}. header returns the value
	// of a header of the request, "" if it does not stand there once; it is not called after Arrive has returned.
	Arrive(route, tenant string, header func(name string) string) Request
	// Close sends what was not sent yet. ctx bounds that.
	Close(ctx context.Context)
}

// Request is the span of one delivery of a webhook, from its arrival to its answer. Steps may be begun below it when it
// has ended: what a request began goes on without it.
type Request interface {
	// Claim and Store begin the spans of asking Redis for an execution, and of telling Redis how one ended. They return
	// nil if nothing of the request is recorded.
	Claim() Step
	Store() Step
	// Execute begins the span of an execution that was won for the request.
	Execute(Execution) Execute
	// Trace is the trace's id, in hex, and whether its spans are recorded.
	Trace() (id string, recorded bool)
	// Told notes how the gate answered the request.
	Told(Answer)
	// End ends the span, with the HTTP status of the answer.
	End(status int)
}

// Step is the span of something that the gate does for a request.
type Step interface {
	End(End)
}

// Execute is the span of an execution: what the logic calls belongs to it.
type Execute interface {
	Step
	// Within returns a context for the logic: it carries the span, also for a tracing library that the logic uses, and
	// the headers for Headers.
	Within(context.Context) context.Context
}

// Execution is an execution that begins.
type Execution struct {
	Fingerprint [32]byte
	Attempt     int64
	InDoubt     bool
	Cause       string // why it begins
}

// Answer is what a request was told. If it tells of an execution that other requests know of too, the span of that
// execution is linked to.
type Answer struct {
	Fingerprint [32]byte
	Outcome     string
	Attempt     int64         // 0: not known
	Age         time.Duration // of the result
}

// End is how a step ended.
type End struct {
	Outcome string // a word
	Reason  string // of a failure: a word
	Attempt int64  // 0: none
	Status  int    // of the logic's result; 0: it has none
	Failed  bool
	At      time.Time // zero: now
}

type headers struct{}

// WithHeaders returns a context in which other services are called with these headers, by which they go on with a trace
// (W3C Trace Context). One that is empty is not sent, also if a caller sent it.
func WithHeaders(ctx context.Context, of map[string]string) context.Context {
	return context.WithValue(ctx, headers{}, of)
}

// TraceOf returns the id, in hex, of the trace that those headers go on with; "": the context belongs to no span.
func TraceOf(ctx context.Context) string {
	_, rest, _ := strings.Cut(Headers(ctx)["traceparent"], "-") // version-trace-parent-flags
	id, _, _ := strings.Cut(rest, "-")
	return id
}

// Headers returns those headers; none: the context belongs to no span.
func Headers(ctx context.Context) map[string]string {
	of, _ := ctx.Value(headers{}).(map[string]string)
	return of
}
