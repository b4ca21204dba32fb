package load

import (
	"math/bits"
	"time"
)

// Durations are counted in buckets that double in width, each cut into 64. A value is therefore exact to 1/64 (1.6 %),
// which is less than rounds differ.
const (
	fineBits = 6
	fine     = 1 << fineBits
	buckets  = fine * (40 - fineBits) // up to 2^39 ns, nine minutes; longer durations count as that
)

// Histogram counts durations. It is not safe for concurrent use.
type Histogram struct {
	counts [buckets]uint32
	total  uint64
}

// bucket returns the bucket of a duration in nanoseconds.
func bucket(ns uint64) int {
	if ns < fine {
		return int(ns)
	}
	shift := bits.Len64(ns) - fineBits - 1
	return min(shift<<fineBits+int(ns>>shift), buckets-1)
}

// highest returns the longest duration that falls into a bucket.
func highest(at int) uint64 {
	if at < 2*fine {
		return uint64(at)
	}
	shift := at>>fineBits - 1
	return (uint64(at&(fine-1)+fine)+1)<<shift - 1
}

// Record counts a duration.
func (h *Histogram) Record(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
}

// Add adds all durations of another histogram.
func (h *Histogram) Add(other *Histogram) {
	for at, count := range other.counts {
		h.counts[at] += count
	}
	h.total += other.total
}

// Count returns the number of durations.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile returns the duration that the share q (0 to 1) of all durations does not exceed, or 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(uint64(q*float64(h.total)+0.5), 1)
	var seen uint64
	for at, count := range h.counts {
		if seen += uint64(count); seen >= rank {
			return time.Duration(highest(at))
		}
	}
	return 0
}
