package metrics

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/oncegate/oncegate/internal/meter"
)

// The bounds of classic buckets, in seconds, are powers of two, because cells have such bounds: from a quarter of a
// millisecond to a minute.
const (
	secondsFrom = -12
	secondsTo   = 6
)

// histogram is a reading in Prometheus' form: a native histogram for scrapers that ask for one, and classic buckets.
type histogram struct {
	desc     *prometheus.Desc
	reading  *meter.Reading
	from, to int // exponents of the first and the last classic bucket's bound
	labels   []string

	exemplars []meter.Exemplar
}

func (h histogram) Desc() *prometheus.Desc { return h.desc }

func (h histogram) Write(out *dto.Metric) error {
	out.Label = prometheus.MakeLabelPairs(h.desc, h.labels)
	out.Histogram = &dto.Histogram{
		SampleCount: new(h.reading.Count), SampleSum: new(h.reading.Sum),
		Schema: new(int32(meter.Schema)), ZeroThreshold: new(meter.Bound(0)), ZeroCount: new(h.reading.Cells[0]),
	}
	for exponent := h.from; exponent <= h.to; exponent++ {
		out.Histogram.Bucket = append(out.Histogram.Bucket, &dto.Bucket{
			UpperBound: new(math.Exp2(float64(exponent))), CumulativeCount: new(h.reading.UpTo(exponent)),
		})
	}
	h.writeNative(out.Histogram)
	h.writeExemplars(out.Histogram)
	return nil
}

// writeExemplars writes all exemplars into the native form, and the latest of each classic bucket into that bucket.
func (h histogram) writeExemplars(out *dto.Histogram) {
	for _, e := range h.exemplars {
		told := &dto.Exemplar{
			Label: []*dto.LabelPair{{Name: new("trace_id"), Value: new(e.Trace)}}, Value: new(e.Value),
			Timestamp: timestamppb.New(e.At),
		}
		out.Exemplars = append(out.Exemplars, told)
		i, _ := slices.BinarySearchFunc(out.Bucket, e.Value, func(b *dto.Bucket, v float64) int {
			return cmp.Compare(b.GetUpperBound(), v)
		})
		if i == len(out.Bucket) {
			out.Bucket = append(out.Bucket, &dto.Bucket{UpperBound: new(math.Inf(1)), CumulativeCount: out.SampleCount})
		}
		if kept := out.Bucket[i].Exemplar; kept == nil || kept.Timestamp.AsTime().Before(e.At) {
			out.Bucket[i].Exemplar = told
		}
	}
}

// writeNative writes the cells that are not empty: runs of cells as spans, and each cell as its difference to the one
// before.
func (h histogram) writeNative(out *dto.Histogram) {
	next, before := 0, int64(0) // the index after the last cell written, and that cell's count
	for cell := 1; cell < meter.Cells; cell++ {
		n := int64(h.reading.Cells[cell])
		if n == 0 {
			continue
		}
		index := meter.NativeIndex(cell)
		if gap := index - next; len(out.PositiveSpan) == 0 || gap > 0 {
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: new(int32(gap)), Length: new(uint32(0))})
		}
		*out.PositiveSpan[len(out.PositiveSpan)-1].Length++
		out.PositiveDelta = append(out.PositiveDelta, n-before)
		next, before = index+1, n
	}
	if len(out.PositiveSpan) == 0 { // an empty native histogram needs a span: otherwise it looks like a classic one
		out.PositiveSpan = []*dto.BucketSpan{{Offset: new(int32(0)), Length: new(uint32(0))}}
	}
}
