package load

import (
	"math/bits"
	"time"
)

// Durations are counted in nanoseconds, in buckets that double, each cut into 64: a value is known to 1/64, or 1.6 %,
// of itself, which is less than one round differs from the next.
const (
	fineBits = 6
	fine     = 1 << fineBits
	buckets  = fine * (40 - fineBits) // up to 2^39 ns, nine minutes; what is longer counts as that
)

// Histogram counts durations. One goroutine may use it at a time.
type Histogram struct {
	counts [buckets]uint32
	total  uint64
}

// bucket is where a duration of so many nanoseconds is counted.
func bucket(ns uint64) int {
	if ns < fine {
		return int(ns)
	}
	shift := bits.Len64(ns) - fineBits - 1
	return min(shift<<fineBits+int(ns>>shift), buckets-1)
}

// highest is the longest duration that a bucket counts.
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

// Add counts all that other has counted.
func (h *Histogram) Add(other *Histogram) {
	for at, count := range other.counts {
		h.counts[at] += count
	}
	h.total += other.total
}

// Count is how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile is the duration that the share q (0 to 1) of all does not exceed; 0 where nothing was recorded.
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
