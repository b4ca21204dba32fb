package verdict

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
)

func TestNoiseThatIsFeltOrNotCountedIsFound(t *testing.T) {
	fine := map[string]int64{
		"total_requests": 7, "executed": 5, "duplicates": 1, "waited": 1, "unavailable": 1, "stored": 3, "failed": 2,
		"quiet/total_requests": 3, "quiet/executed": 3, "quiet/stored": 3,
		"noisy/total_requests": 4, "noisy/executed": 2, "noisy/failed": 2, "noisy/duplicates": 1, "noisy/waited": 1,
		"noisy/unavailable": 1,
	}
	type counts = map[string]int64
	for name, c := range map[string]struct {
		change        counts
		alone, beside time.Duration
		want          string // in the finding that does not hold; "": all hold
	}{
		"all is well":         {alone: 10, beside: 20},
		"it is felt":          {alone: 10, beside: 21, want: "21ns beside the noise, which is more than twice"},
		"a request is lost":   {change: counts{"noisy/total_requests": 3}, alone: 1, beside: 1, want: "is 3, want 4"},
		"an execution is":     {change: counts{"noisy/failed": 1}, alone: 1, beside: 1, want: "lost_stores is 1, want 2"},
		"a duplicate is":      {change: counts{"noisy/waited": 0}, alone: 1, beside: 1, want: "is 0, want 1"},
		"one moves":           {change: counts{"quiet/executed": 2}, alone: 1, beside: 1, want: "executed of all is 5"},
		"all have one more":   {change: counts{"unavailable": 2}, alone: 1, beside: 1, want: "unavailable of all is 2"},
		"there was no noise":  {alone: 1, want: "no verdict"},
		"there was only that": {beside: 1, want: "no verdict"},
	} {
		t.Run(name, func(t *testing.T) {
			after := maps.Clone(fine)
			maps.Copy(after, c.change)
			noise := Noise{Ledger: NewLedger(), Tenant: "noisy", Alone: c.alone, Beside: c.beside}
			noise.sent = 4
			findings, err := noise.Judge(&Case{Tenant: "quiet", After: Counters{counts: after}})
			var wrong []string
			if errors.Is(err, ErrUnreached) {
				wrong = append(wrong, err.Error())
			}
			for _, f := range findings {
				if !f.Held {
					wrong = append(wrong, f.Text)
				}
			}
			if told := strings.Join(wrong, "; "); (c.want == "") != (told == "") || !strings.Contains(told, c.want) {
				t.Errorf("found %q, want %q", told, c.want)
			}
		})
	}
}
