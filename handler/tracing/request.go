package tracing

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/span"
)

// The names of our own attributes.
const (
	keyTenant      = attribute.Key("oncegate.tenant")
	keyFingerprint = attribute.Key("oncegate.fingerprint")
	keyOutcome     = attribute.Key("oncegate.outcome")
	keyAttempt     = attribute.Key("oncegate.attempt")
	keyInDoubt     = attribute.Key("oncegate.in_doubt")
	keyCause       = attribute.Key("oncegate.cause")
	keyReason      = attribute.Key("oncegate.reason")
	keyStatus      = attribute.Key("http.response.status_code")
)

// headers reads and writes traceparent and tracestate.
var headers propagation.TraceContext

// carrier lets the library read a request's headers.
type carrier func(name string) string

// Get returns a header's value.
func (c carrier) Get(name string) string { return c(name) }

// Set does nothing: the library only reads.
func (carrier) Set(string, string) {}

// Keys returns none.
func (carrier) Keys() []string { return nil }

// request is a span.Request.
type request struct {
	tracer *Tracer
	tenant string
	span   trace.Span
	of     context.Context // carries the span
}

// Arrive begins the span of a request, in its caller's trace if the caller names one (W3C Trace Context).
func (t *Tracer) Arrive(route, tenant string, header func(name string) string) span.Request {
	r := &request{tracer: t, tenant: tenant}
	caller := headers.Extract(context.Background(), carrier(header))
	r.of, r.span = t.tracer.Start(caller, http.MethodPost+" "+route, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", http.MethodPost), attribute.String("http.route", route)))
	if tenant != "" {
		r.span.SetAttributes(keyTenant.String(tenant))
	}
	return r
}

func (r *request) Trace() (id string, recorded bool) {
	c := r.span.SpanContext()
	return c.TraceID().String(), c.IsSampled()
}

func (r *request) Told(a span.Answer) {
	if !r.span.IsRecording() {
		return
	}
	r.span.SetAttributes(keyFingerprint.String(fingerprint.Fingerprint(a.Fingerprint).String()),
		keyOutcome.String(a.Outcome))
	if a.Attempt == 0 {
		return
	}
	r.span.SetAttributes(keyAttempt.Int64(a.Attempt))
	if e := r.tracer.ran.find(a.Fingerprint, a.Attempt, a.Age); e != nil && e.parent != r.span.SpanContext().SpanID() {
		r.span.AddLink(trace.Link{SpanContext: e.span})
	}
}

func (r *request) End(status int) {
	r.span.SetAttributes(keyStatus.Int(status))
	if status >= http.StatusInternalServerError {
		r.span.SetStatus(codes.Error, "")
	}
	r.span.End()
}

// step is a span.Step.
type step struct{ span trace.Span }

func (r *request) Claim() span.Step { return r.step("claim") }

func (r *request) Store() span.Step { return r.step("store") }

func (r *request) step(name string) span.Step {
	if !r.span.SpanContext().IsSampled() {
		return nil
	}
	_, s := r.tracer.tracer.Start(r.of, name)
	return step{s}
}

func (s step) End(e span.End) {
	s.span.SetAttributes(keyOutcome.String(e.Outcome))
	if e.Attempt > 0 {
		s.span.SetAttributes(keyAttempt.Int64(e.Attempt))
	}
	if e.Reason != "" {
		s.span.SetAttributes(keyReason.String(e.Reason))
	}
	if e.Status > 0 {
		s.span.SetAttributes(keyStatus.Int(e.Status))
	}
	if e.Failed {
		s.span.SetStatus(codes.Error, e.Reason)
	}
	if e.At.IsZero() {
		s.span.End()
	} else {
		s.span.End(trace.WithTimestamp(e.At))
	}
}

// execute is a span.Execute.
type execute struct {
	step
	run     *run
	headers propagation.MapCarrier
}

func (r *request) Execute(e span.Execution) span.Execute {
	of, s := r.tracer.tracer.Start(r.of, "execute", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		keyFingerprint.String(fingerprint.Fingerprint(e.Fingerprint).String()), keyAttempt.Int64(e.Attempt),
		keyInDoubt.Bool(e.InDoubt), keyCause.String(e.Cause)))
	if r.tenant != "" {
		s.SetAttributes(keyTenant.String(r.tenant))
	}
	x := &execute{step{s}, nil, propagation.MapCarrier{"tracestate": ""}} // a caller's fits only its own trace
	headers.Inject(of, x.headers)
	if s.SpanContext().IsSampled() {
		x.run = &run{of: e.Fingerprint, attempt: e.Attempt, span: s.SpanContext(), parent: r.span.SpanContext().SpanID()}
		r.tracer.ran.add(x.run)
	}
	return x
}

func (x *execute) Within(ctx context.Context) context.Context {
	return span.WithHeaders(trace.ContextWithSpan(ctx, x.span), x.headers)
}

func (x *execute) End(e span.End) {
	if x.run != nil {
		x.run.ended.Store(time.Now().UnixNano())
	}
	x.step.End(e)
}
