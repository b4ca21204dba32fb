package replicas

import (
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/link"
)

// requests returns how many webhooks were answered so far, without requests that became none.
func requests(s *gate.Share) (n int64) {
	for _, k := range []link.Kind{
		link.Executed, link.ReplayedByScript, link.ReplayedLocal, link.Replayed, link.Waited, link.StillProcessing,
		link.Unopened, link.Unavailable, link.Refused, link.Limited, link.Overloaded, link.Poisoned, link.Doubtful,
	} {
		n += s.Counts[k]
	}
	return n
}

// difference fills in what happened between two observations, except the deliveries.
func difference(s Second, before, now *Observation) Second {
	grown := func(of func(*Observation) int64) int64 { return max(of(now)-of(before), 0) }
	kinds := func(kinds ...link.Kind) int64 {
		return grown(func(o *Observation) (n int64) {
			for _, k := range kinds {
				n += o.Gate.Counts[k]
			}
			return n
		})
	}
	s[Executions] = grown(func(o *Observation) int64 { return o.Gate.Begun })
	s[Ended] = grown(func(o *Observation) (n int64) {
		for _, e := range o.Gate.Ended {
			n += e
		}
		return n
	})
	s[Failed] = grown(func(o *Observation) int64 { return o.Gate.Ended[gate.EndedFailed] })
	s[Unavailable] = kinds(link.Unavailable, link.Unopened)
	s[Refused] = kinds(link.Refused)
	s[Overloaded] = kinds(link.Overloaded)
	s[Limited] = kinds(link.Limited)
	s[Judged] = kinds(link.Poisoned, link.Doubtful)
	s[LeasesLost] = grown(func(o *Observation) int64 { return o.Gate.LostLeases })
	s[Losses] = grown(func(o *Observation) int64 { return int64(o.Gate.Epochs) })
	s[Restored] = grown(func(o *Observation) int64 { return o.Gate.Restored })
	return s
}
