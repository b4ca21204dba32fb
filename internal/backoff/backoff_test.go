package backoff_test

import (
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/backoff"
)

func TestAPauseIsOfAnyLengthUpToABoundThatDoubles(t *testing.T) {
	const callers = 2000
	bounds := []time.Duration{10, 20, 40, 80, 100, 100}
	var parts [6][4]int // number of pauses in each quarter of their bound
	for range callers {
		b := backoff.Backoff{First: 10, Most: 100}
		for n, bound := range bounds {
			pause := b.Next()
			if pause <= 0 || pause > bound {
				t.Fatalf("pause %d is %d, of at most %d", n, pause, bound)
			}
			parts[n][(pause-1)*4/bound]++
		}
	}
	for n, quarters := range parts {
		for _, in := range quarters {
			if in < callers/10 {
				t.Errorf("pauses up to %d fall unevenly: %d", bounds[n], quarters)
			}
		}
	}
}
