package gate_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
)

// BenchmarkReplay is a duplicate that the client-side cache answers.
func BenchmarkReplay(b *testing.B) {
	h := onReal(b)
	r := h.open(options())
	r.send(1)
	w := h.hook(1, "body")
	for hit := false; !hit; {
		_, hit = r.Replay(w.Fingerprint, w.Digest)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.Replay(w.Fingerprint, w.Digest); !ok {
			b.Fatal("not replayed")
		}
	}
}

// BenchmarkFirstTime is a claim, the logic (which does nothing) and a store, from 64 callers at once.
func BenchmarkFirstTime(b *testing.B) {
	h := onReal(b)
	r := h.open(options())
	result := answer(`{"booked":true}`)
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w := h.hook(int(n.Add(1)), "body")
			w.Execute = func(context.Context, int64, bool) (record.Result, error) { return result, nil }
			if a := r.Do(w); a.Outcome != gate.Executed {
				b.Errorf("it was %s", name(a.Outcome))
			}
		}
	})
}
