package tracing

import (
	"context"
	"log/slog"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/oncegate/oncegate/internal/span"
)

// BenchmarkReplay measures the cost of traces for a replay.
func BenchmarkReplay(b *testing.B) {
	for name, sampler := range map[string]string{"sampled": "always_on", "not sampled": "always_off"} {
		b.Run(name, func(b *testing.B) {
			b.Setenv("OTEL_TRACES_SAMPLER", sampler)
			p := providerOf(nowhere{}, Options{Log: slog.New(slog.DiscardHandler)})
			defer func() { _ = p.Shutdown(context.Background()) }()
			t := New(p)
			none := func(string) string { return "" }
			b.ReportAllocs()
			for b.Loop() {
				s := t.Arrive("/webhook/cognigy", "", none)
				s.Told(span.Answer{Outcome: "replayed", Attempt: 1, Age: time.Second})
				s.End(200)
			}
		})
	}
}

// nowhere drops all spans.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdk.ReadOnlySpan) error { return nil }

func (nowhere) Shutdown(context.Context) error { return nil }
