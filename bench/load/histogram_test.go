package load

import (
	"testing"
	"time"
)

func TestEveryBucketFollowsTheOneBefore(t *testing.T) {
	for at := range buckets - 1 {
		top := highest(at)
		if bucket(top) != at || bucket(top+1) != at+1 {
			t.Fatalf("bucket %d ends at %d, but %d is counted in %d and %d in %d",
				at, top, top, bucket(top), top+1, bucket(top+1))
		}
	}
}

func TestQuantiles(t *testing.T) {
	var whole, half Histogram
	if got := whole.Quantile(0.5); got != 0 {
		t.Errorf("an empty histogram has the median %v", got)
	}
	for i := 1; i <= 1000; i++ {
		h := &whole
		if i%2 == 0 {
			h = &half
		}
		h.Record(time.Duration(i) * time.Microsecond)
	}
	whole.Add(&half)
	if whole.Count() != 1000 {
		t.Errorf("counted %d of 1000", whole.Count())
	}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0, time.Microsecond}, {0.5, 500 * time.Microsecond}, {0.99, 990 * time.Microsecond}, {1, time.Millisecond}} {
		got := whole.Quantile(c.q)
		if got < c.want || got > c.want+c.want/fine {
			t.Errorf("quantile %v is %v, want %v to 1/%d", c.q, got, c.want, fine)
		}
	}
}

func TestExtremesAreCounted(t *testing.T) {
	var h Histogram
	h.Record(-time.Second)
	h.Record(24 * time.Hour)
	if h.Quantile(0) != 0 || h.Quantile(1) < 9*time.Minute {
		t.Errorf("a negative one is %v, a day is %v", h.Quantile(0), h.Quantile(1))
	}
}
