package meter_test

import (
	"math"
	"testing"

	"github.com/oncegate/oncegate/internal/meter"
)

// TestEachOctaveKeepsItsLatestExample: the bound of a classic bucket is the bound of an octave.
func TestEachOctaveKeepsItsLatestExample(t *testing.T) {
	var h meter.Histogram
	if kept := h.Exemplars(); kept != nil {
		t.Errorf("there are examples from the start: %v", kept)
	}
	for _, v := range []float64{math.Inf(1), 2000, 0.1875, 0.25, 0.26, 0, 1e-9} {
		h.Exemplify(v, "first")
		h.Exemplify(v, "trace")
	}
	var values []float64
	for _, e := range h.Exemplars() {
		values = append(values, e.Value)
		if e.Trace != "trace" || e.At.IsZero() {
			t.Errorf("an example is %+v, and not the latest one", e)
		}
	}
	want := []float64{1e-9, 0.25, 0.26, 2000}
	if len(values) != len(want) {
		t.Fatalf("the examples are %v, want %v", values, want)
	}
	for i := range want {
		if values[i] != want[i] {
			t.Fatalf("the examples are %v, want %v", values, want)
		}
	}
}
