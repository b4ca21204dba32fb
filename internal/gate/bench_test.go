package gate_test

import (
	"context"
	"fmt"
	"sync"
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
	w := h.request(1, "body")
	for hit := false; !hit; {
		_, hit = r.Replay(w)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.Replay(w); !ok {
			b.Fatal("not replayed")
		}
	}
}

// BenchmarkFirstTime is a claim, the logic (which does nothing) and a store, from so many callers at once.
func BenchmarkFirstTime(b *testing.B) {
	ungrouped := options()
	ungrouped.Ungrouped = true
	for _, callers := range []int{1, 8, 64, 512} {
		for name, o := range map[string]gate.Options{
			"grouped": options(), "one by one": ungrouped, "grouped and sealed": sealing(b, options(), "one"),
		} {
			b.Run(fmt.Sprintf("%d callers, %s", callers, name), func(b *testing.B) { firstTime(b, callers, o) })
		}
	}
}

func firstTime(b *testing.B, callers int, o gate.Options) {
	h := onReal(b)
	r := h.open(o)
	result := answer(`{"booked":true}`)
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				w := h.request(int(i), "body")
				w.Source = executes(func(context.Context, int64, bool) (record.Result, error) { return result, nil })
				if a := r.Do(w); a.Outcome != gate.Executed {
					b.Errorf("it was %s", name(a.Outcome))
				}
			}
		})
	}
	calling.Wait()
}
