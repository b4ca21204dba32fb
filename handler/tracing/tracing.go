// Package tracing follows webhooks with OpenTelemetry: it implements package span. The program sends its traces to the
// receiver that the environment variables of that standard name, if they name one (Open). Nothing waits for the
// receiver: spans gather in a queue that is bounded, and spans that find no room in it are dropped. A program with the
// library may also give the spans to a provider of its own (New).
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

// Tracer makes spans of a gateway's work (Gateway.Trace).
type Tracer struct {
	tracer trace.Tracer
	ran    ran
	end    func(ctx context.Context) error // sends the remaining spans; nil: the provider is the caller's
	log    *slog.Logger                    // for errors of end
}

// New returns a tracer whose spans go to a provider. The caller shuts the provider down.
func New(p trace.TracerProvider) *Tracer {
	return &Tracer{tracer: p.Tracer("github.com/oncegate/oncegate")}
}

// Options name the program that traces.
type Options struct {
	Version string // of the program
	Replica string // the process' name
	Getenv  func(name string) string
	Log     *slog.Logger
}

func (o *Options) warn(err error) {
	o.Log.Warn("a variable of OpenTelemetry is not taken as it stands", "error", err)
}

// Open returns a tracer that sends its spans to the receiver that the environment names. It returns nil if the
// environment asks for no traces: then there is nothing to give to Gateway.Trace. An error says why there is no tracer
// although the environment asks for one.
func Open(o Options) (*Tracer, error) {
	to, err := target(o.Getenv)
	if to == nil || err != nil {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(o.warn)) // the library has one handler for the whole process
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

// providerOf returns a provider whose spans go to an exporter. The library reads its other settings, such as the
// sampler, from the environment.
func providerOf(exporter sdk.SpanExporter, o Options) *sdk.TracerProvider {
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "oncegate"), attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", o.Replica),
	), resource.WithFromEnv()) // last, so that the environment wins
	if err != nil { // the attributes that could be read stay
		o.warn(err)
	}
	return sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
}

// The longest time that Close takes, and the shortest that it is given.
const (
	longestFlush  = 3 * time.Second
	shortestFlush = time.Second
)

// Close sends the remaining spans for as long as ctx lasts, but for at least one second and at most three. The gateway
// calls it once, when it has stopped serving.
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
