package meter_test

import (
	"math"
	"sync"
	"testing"
	"testing/quick"

	"github.com/oncegate/oncegate/internal/meter"
)

func TestAValueLiesBelowTheBoundOfItsCellAndAboveTheOneBefore(t *testing.T) {
	holds := func(exponent uint8, fraction uint16) bool {
		v := math.Ldexp(0.5+float64(fraction)/(1<<17), int(exponent%29)-18)
		cell := only(t, v)
		return v <= meter.Bound(cell) && v > meter.Bound(cell-1)
	}
	if err := quick.Check(holds, nil); err != nil {
		t.Error(err)
	}
	for exponent := -19; exponent <= 10; exponent++ { // a power of two is the bound of its own cell
		if v := math.Exp2(float64(exponent)); meter.Bound(only(t, v)) != v {
			t.Errorf("%v lies in the cell up to %v", v, meter.Bound(only(t, v)))
		}
	}
}

func TestWhatIsTooSmallOrTooLargeIsCountedAllTheSame(t *testing.T) {
	for v, want := range map[float64]int{
		0: 0, -1: 0, math.NaN(): 0, 1e-9: 0, 1025: meter.Cells - 1, 1e300: meter.Cells - 1, math.Inf(1): meter.Cells - 1,
	} {
		if cell := only(t, v); cell != want {
			t.Errorf("%v is in cell %d, want %d", v, cell, want)
		}
	}
}

func TestAQuantileIsAtMostAnEighthOfAnOctaveTooHigh(t *testing.T) {
	var h meter.Histogram
	for i := 1; i <= 1000; i++ {
		h.Observe(float64(i) / 1000)
	}
	r := h.Read()
	for q, want := range map[float64]float64{0: 0.001, 0.5: 0.5, 0.99: 0.99, 1: 1} {
		if got := r.Quantile(q); got < want || got > want*math.Exp2(1./8) {
			t.Errorf("the quantile %v is %v, want about %v", q, got, want)
		}
	}
	if n := r.UpTo(-1); n != 500 {
		t.Errorf("%d values are at most 0.5, want 500", n)
	}
	if none := new(meter.Reading); none.Quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
}

func TestReadingsAddUpAndTakeAwayExactly(t *testing.T) {
	var h meter.Histogram
	h.Observe(0.25)
	first := h.Read()
	h.Observe(0.5)
	h.Observe(0.5)
	between := h.Read()
	between.Sub(&first)
	if between.Count != 2 || between.Sum != 1 || between.Quantile(0) != 0.5 {
		t.Errorf("between the readings: %d values, %v together, from %v on", between.Count, between.Sum, between.Quantile(0))
	}
	between.Add(&first)
	if between != h.Read() {
		t.Error("what was taken away and added again is another reading")
	}
}

func TestObservingAllocatesNothingAndLosesNothing(t *testing.T) {
	var h meter.Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(0.1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	before := h.Read().Count
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				h.Observe(0.1)
			}
		})
	}
	all.Wait()
	if n := h.Read().Count - before; n != 8000 {
		t.Errorf("8000 values were observed at once, and %d are there", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h meter.Histogram
	for b.Loop() {
		h.Observe(0.000123)
	}
}

// only returns the cell of a value.
func only(t *testing.T, v float64) int {
	t.Helper()
	var h meter.Histogram
	h.Observe(v)
	r := h.Read()
	for i, n := range r.Cells {
		if n == 1 {
			return i
		}
	}
	t.Fatalf("%v is in no cell", v)
	return 0
}
