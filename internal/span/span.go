// Package span is all that the gate and the handler know of traces: steps that begin and end. Only package tracing
// knows which library records them, and where they are sent. If traces are off there are no spans: code that may have a
// span first compares it with nil, and traces cost no more than that.
package span

import (
	"context"
	"strings"
	"time"
)

// Tracer begins the spans of requests.
type Tracer interface {
	// Arrive begins the span of a request that brings a webhook to a route, such as /t/{tenant}. header returns the value
	// of a header of the request, "" unless the request has it exactly once; it is not called after Arrive has returned.
	Arrive(route, tenant string, header func(name string) string) Request
	// Close sends the remaining spans. ctx bounds that.
	Close(ctx context.Context)
}

// Request is the span of one delivery of a webhook, from its arrival to its answer. Steps may begin below it after it
// has ended, because an execution goes on without its request.
type Request interface {
	// Claim and Store begin the spans of asking Redis for an execution, and of storing how one ended. They return nil if
	// nothing of the request is recorded.
	Claim() Step
	Store() Step
	// Execute begins the span of an execution that was won for the request.
	Execute(Execution) Execute
	// Trace returns the trace's id, in hex, and whether its spans are recorded.
	Trace() (id string, recorded bool)
	// Told notes how the gate answered the request.
	Told(Answer)
	// End ends the span, with the HTTP status of the answer.
	End(status int)
}

// Step is the span of one step of the gate for a request.
type Step interface {
	End(End)
}

// Execute is the span of an execution: the logic's calls belong to it.
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

// Answer is the gate's answer to a request. If it comes from an execution that other requests know of too, the
// request's span links to that execution's.
type Answer struct {
	Fingerprint [32]byte
	Outcome     string
	Attempt     int64         // 0: not known
	Age         time.Duration // of the result
}

// End is how a step ended.
type End struct {
	Outcome string // one word
	Reason  string // of a failure: one word
	Attempt int64  // 0: none
	Status  int    // of the logic's result; 0: it has none
	Failed  bool
	At      time.Time // zero: now
}

type headers struct{}

// WithHeaders returns a context in which calls to other services carry these headers, so that the services continue the
// trace (W3C Trace Context). An empty header is not sent, even if a caller sent it.
func WithHeaders(ctx context.Context, of map[string]string) context.Context {
	return context.WithValue(ctx, headers{}, of)
}

// TraceOf returns the id, in hex, of the trace in those headers; "": the context belongs to no span.
func TraceOf(ctx context.Context) string {
	_, rest, _ := strings.Cut(Headers(ctx)["traceparent"], "-") // version-trace-parent-flags
	id, _, _ := strings.Cut(rest, "-")
	return id
}

// Headers returns the headers of WithHeaders; none: the context belongs to no span.
func Headers(ctx context.Context) map[string]string {
	of, _ := ctx.Value(headers{}).(map[string]string)
	return of
}
