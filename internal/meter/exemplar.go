package meter

import (
	"math"
	"time"
)

// Exemplar is one of the values that a histogram counts, with the trace that it comes from.
type Exemplar struct {
	Value float64
	Trace string // its id, in hex
	At    time.Time
}

// Exemplify keeps a value that was observed as the example of its octave, in place of the one before.
func (h *Histogram) Exemplify(v float64, trace string) {
	h.exemplars[octave(v)].Store(&Exemplar{v, trace, time.Now()})
}

// Exemplars returns the latest example of each octave, the smallest value first.
func (h *Histogram) Exemplars() (all []Exemplar) {
	for i := range h.exemplars {
		if e := h.exemplars[i].Load(); e != nil {
			all = append(all, *e)
		}
	}
	return all
}

// octave returns the octave of a value's cell: values up to 2^lowestOctave are in the first octave, values above the
// highest bound in the last.
func octave(v float64) int { return int(math.Ceil(float64(cell(v)) / PerOctave)) }
