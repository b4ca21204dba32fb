// Package meter measures with atomics alone, so that a measurement costs a webhook two additions. The packages that
// read the meters (metrics, dashboard) do the rest, when somebody looks.
package meter

import (
	"math"
	"sync/atomic"
	"time"
)

// The cells of a histogram. Their bounds grow by 2^(1/8), about 9 %, which is schema 3 of Prometheus' native
// histograms: a reading is handed on as it is, and a quantile is wrong by 9 % at most.
const (
	Schema       = 3
	PerOctave    = 1 << Schema
	lowestOctave = -20 // 2^-20: about 1 µs, if the unit is a second
	octaves      = 30  // up to 2^10: 17 minutes
	highest      = 1 << (lowestOctave + octaves)

	// Cells is the number of cells. The first one holds all values up to 2^-20, the last one all above 2^10.
	Cells = octaves*PerOctave + 1
)

// inOctave has the bounds within [0.5, 1).
var inOctave = func() (bounds [PerOctave]float64) {
	for i := range bounds {
		bounds[i] = math.Exp2(float64(i)/PerOctave) / 2
	}
	return bounds
}()

// Histogram counts values by size. Its zero value is empty and ready for use by any number of goroutines.
type Histogram struct {
	cells [Cells]atomic.Uint64
	sum   atomic.Int64 // billionths

	exemplars [octaves + 1]atomic.Pointer[Exemplar] // by octave; none if nothing is traced
}

// Observe counts a value. It allocates nothing and takes no lock.
func (h *Histogram) Observe(v float64) {
	h.cells[cell(v)].Add(1)
	h.sum.Add(int64(v * 1e9))
}

// ObserveSince counts the seconds since a moment.
func (h *Histogram) ObserveSince(t time.Time) { h.Observe(time.Since(t).Seconds()) }

// cell returns the cell of a value: the one with the smallest bound that is not below the value.
func cell(v float64) int {
	switch {
	case !(v > 0): // NaN too
		return 0
	case v > highest: // infinity too
		return Cells - 1
	}
	fraction, exponent := math.Frexp(v) // v is fraction * 2^exponent, and fraction in [0.5, 1)
	i := 0
	for i < PerOctave && inOctave[i] < fraction {
		i++
	}
	return min(max(i+(exponent-1-lowestOctave)*PerOctave, 0), Cells-1)
}

// Bound is the largest value of a cell.
func Bound(cell int) float64 { return math.Exp2(float64(cell)/PerOctave + lowestOctave) }

// NativeIndex returns the index of a cell in Prometheus' native histograms of this schema.
func NativeIndex(cell int) int { return cell + lowestOctave*PerOctave }

// Reading is the content of a histogram at a moment, or between two moments.
type Reading struct {
	Cells [Cells]uint64
	Count uint64  // of all cells
	Sum   float64 // of all values
}

// Read returns everything observed so far.
func (h *Histogram) Read() (r Reading) {
	for i := range h.cells {
		n := h.cells[i].Load()
		r.Cells[i] = n
		r.Count += n
	}
	r.Sum = float64(h.sum.Load()) / 1e9
	return r
}

// Add adds another reading.
func (r *Reading) Add(other *Reading) {
	for i, n := range other.Cells {
		r.Cells[i] += n
	}
	r.Count += other.Count
	r.Sum += other.Sum
}

// Sub subtracts an earlier reading of the same histogram.
func (r *Reading) Sub(earlier *Reading) {
	for i, n := range earlier.Cells {
		r.Cells[i] -= n
	}
	r.Count -= earlier.Count
	r.Sum -= earlier.Sum
}

// Quantile returns a value that a share q (0 to 1) of all values does not exceed, at most 9 % too high; 0 if there are
// none.
func (r *Reading) Quantile(q float64) float64 {
	rank := uint64(math.Ceil(q * float64(r.Count)))
	for i, seen := 0, uint64(0); i < Cells && r.Count > 0; i++ {
		if seen += r.Cells[i]; seen >= max(rank, 1) {
			return Bound(i)
		}
	}
	return 0
}

// UpTo returns how many values are at most 2^exponent.
func (r *Reading) UpTo(exponent int) (n uint64) {
	last := min((exponent-lowestOctave)*PerOctave, Cells-1)
	for i := 0; i <= last; i++ {
		n += r.Cells[i]
	}
	return n
}
