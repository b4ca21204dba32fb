package metrics

import (
	"maps"
	"math"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/oncegate/oncegate/internal/meter"
)

// TestAHistogramIsOneForOldAndForNewReaders adds the native form up as a reader does, and compares it with the cells.
func TestAHistogramIsOneForOldAndForNewReaders(t *testing.T) {
	var h meter.Histogram
	for _, v := range []float64{0, 1e-9, 0.001, 0.001, 0.0011, 0.25, 0.26, 3, 3, 3, 500, 5000} {
		h.Observe(v)
	}
	r := h.Read()
	var out dto.Metric
	if err := (histogram{lasted, &r, secondsFrom, secondsTo, nil, nil}).Write(&out); err != nil {
		t.Fatal(err)
	}
	native := make(map[int]int64)
	index, n, next := 0, int64(0), 0
	for _, span := range out.Histogram.PositiveSpan {
		index += int(span.GetOffset())
		for range span.GetLength() {
			n += out.Histogram.PositiveDelta[next]
			native[index] = n
			index, next = index+1, next+1
		}
	}
	for cell := 1; cell < meter.Cells; cell++ {
		if got := native[meter.NativeIndex(cell)]; got != int64(r.Cells[cell]) {
			t.Errorf("the native bucket up to %v has %d, want %d", meter.Bound(cell), got, r.Cells[cell])
		}
	}
	if out.Histogram.GetZeroCount() != 2 || out.Histogram.GetSampleCount() != 12 {
		t.Errorf("%d at zero, %d in all; want 2 and 12", out.Histogram.GetZeroCount(), out.Histogram.GetSampleCount())
	}
	for _, b := range out.Histogram.Bucket {
		want := map[float64]uint64{0.25: 6, 0.5: 7, 2: 7, 4: 10, 64: 10}
		if n, asked := want[b.GetUpperBound()]; asked && n != b.GetCumulativeCount() {
			t.Errorf("up to %v there are %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), n)
		}
	}
}

// TestEachClassicBucketHasTheLatestExampleOfItsOwn: examples that lie below the first bucket or above the last one too.
func TestEachClassicBucketHasTheLatestExampleOfItsOwn(t *testing.T) {
	var h meter.Histogram
	r := h.Read()
	at := time.UnixMilli(1_795_502_670_285)
	var out dto.Metric
	if err := (histogram{lasted, &r, secondsFrom, secondsTo, nil, []meter.Exemplar{
		{Value: 1e-5, Trace: "later", At: at.Add(1)}, {Value: 1e-4, Trace: "earlier", At: at},
		{Value: 0.25, Trace: "on the bound", At: at}, {Value: 0.3, Trace: "above it", At: at},
		{Value: 65, Trace: "above all", At: at},
	}}).Write(&out); err != nil {
		t.Fatal(err)
	}
	got := make(map[float64]string)
	for _, b := range out.Histogram.Bucket {
		if b.Exemplar != nil {
			got[b.GetUpperBound()] = b.Exemplar.Label[0].GetValue()
		}
	}
	want := map[float64]string{
		math.Exp2(secondsFrom): "later", 0.25: "on the bound", 0.5: "above it", math.Inf(1): "above all",
	}
	if !maps.Equal(got, want) {
		t.Errorf("the examples are %v, want %v", got, want)
	}
	if n := len(out.Histogram.Exemplars); n != 5 || out.Histogram.Exemplars[1].Timestamp.AsTime() != at.UTC() {
		t.Errorf("the native form has %d examples", n)
	}
}
