// Package tracing follows webhooks with OpenTelemetry: it is what stands behind package span. The program sends its
// traces to where the variables of that standard say (Open), if they do. Nothing waits for their receiver: spans gather
// in a queue that is bounded, and what has no room there is dropped. A program of one's own may also let its own
// provider have the spans (New).
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans of what a gateway does (Gateway.Trace).
type Tracer struct {
	tracer trace.Tracer
	ran    ran
	end    func(ctx context.Context) error // sends what was not sent; nil: the provider is another's
	log    *slog.Logger                    // of what end fails with
}

// New returns a tracer whose spans go to a provider, which stays the caller's to shut down.
func New(p trace.TracerProvider) *Tracer {
	return &Tracer{tracer: p.Tracer("github.com/oncegate/oncegate")}
}

// Options say who traces.
type Options struct {
	Version string // of the program
	Replica string // the process' name
	Getenv  func(name string) string
	Log     *slog.Logger
}

func (o *Options) warn(err error) {
	o.Log.Warn("a variable of OpenTelemetry is not taken as it stands", "error", err)
}

// Open returns a tracer that sends its spans to where the environment says. It is nil if that wants none: then there is
// nothing for Gateway.Trace. An error says why there is none although the environment wants one.
func Open(o Options) (*Tracer, error) {
	to, err := target(o.Getenv)
	if to == nil || err != nil {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(o.warn)) // the library has one a process
	c := newClient(to, o.Log)
	exporter, err := otlptrace.New(context.Background(), c)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	provider := providerOf(exporter, o)
	t := New(provider)
	t.log, t.end = o.Log, func(ctx context.Context) error {
		close(c.closing)
		return provider.Shutdown(ctx)
	}
	return t, nil
}

// providerOf returns a provider whose spans go to an exporter. What else it needs, such as the sampler, the library
// reads from the environment.
func providerOf(exporter sdk.SpanExporter, o Options) *sdk.TracerProvider {
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "oncegate"), attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", o.Replica),
	), resource.WithFromEnv()) // last: it wins
	if err != nil { // the rest of it stands
		o.warn(err)
	}
	return sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
}

// The time that Close takes at most, and the least that it is given.
const (
	longestFlush  = 3 * time.Second
	shortestFlush = time.Second
)

// Close sends the spans that have not been sent, for as long as ctx lasts, but for a second at least and three at most.
// The gateway calls it, once, when it has served.
func (t *Tracer) Close(ctx context.Context) {
	if t.end == nil {
		return
	}
	length := longestFlush
	if by, bounded := ctx.Deadline(); bounded {
		length = min(max(time.Until(by), shortestFlush), longestFlush)
	}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	if err := t.end(ctx); err != nil {
		t.log.Warn("the last traces were not delivered", "error", err)
	}
}
