// Package tracing follows webhooks with OpenTelemetry: it is what stands behind package span. It is off unless the
// variables of that standard say where traces go. Nothing of it waits for the receiver of traces: spans gather in a
// queue that is bounded, and what has no room there is dropped.
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

// Tracer is a span.Tracer.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	client   *client // nil in tests
	ran      ran
	log      *slog.Logger
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

// Open returns a tracer, or nil if the environment wants none. An error says why there is none although it wants one.
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
	t := open(exporter, o)
	t.client = c
	return t, nil
}

// open returns a tracer that sends its spans to an exporter. What else it needs, such as the sampler, the library reads
// from the environment.
func open(exporter sdk.SpanExporter, o Options) *Tracer {
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "oncegate"), attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", o.Replica),
	), resource.WithFromEnv()) // last: it wins
	if err != nil { // the rest of it stands
		o.warn(err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	return &Tracer{
		provider: provider, log: o.Log,
		tracer: provider.Tracer("github.com/oncegate/oncegate", trace.WithInstrumentationVersion(o.Version)),
	}
}

// The time that Close takes at most, and the least that it is given.
const (
	longestFlush  = 3 * time.Second
	shortestFlush = time.Second
)

// Close sends the spans that have not been sent, for as long as ctx lasts, but for a second at least and three at most.
// It is called once.
func (t *Tracer) Close(ctx context.Context) {
	length := longestFlush
	if by, bounded := ctx.Deadline(); bounded {
		length = min(max(time.Until(by), shortestFlush), longestFlush)
	}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	if t.client != nil {
		close(t.client.closing)
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last traces were not delivered", "error", err)
	}
}
