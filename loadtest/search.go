package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// search plays the scenario again and again at different rates, and returns a note about each try.
func (p *play) search(ctx context.Context) (notes []string, err error) {
	highest, notes, err := p.highest(ctx, p.see)
	return append(notes, fmt.Sprintf("highest   %.0f deliveries a second keep p99 under %v", highest, p.slo)), err
}

// highest doubles the rate until p99 exceeds the limit. Then it halves the gap between the highest rate that kept the
// limit and the lowest that did not. It returns 0 if no rate kept it.
func (p *play) highest(ctx context.Context, see func(result) error) (kept float64, tries []string, err error) {
	const near = 1.05 // ratio of these two rates at which the search ends
	for rate, broken := p.rate, 0.0; ctx.Err() == nil && (broken == 0 || broken > max(kept*near, kept+1)); {
		under, told, err := p.try(ctx, rate, see)
		if err != nil {
			return kept, tries, err
		}
		tries = append(tries, "try       "+told)
		if under {
			kept = rate
		} else {
			broken = rate
		}
		rate = 2 * kept
		if broken > 0 {
			rate = (kept + broken) / 2
		}
	}
	return kept, tries, nil
}

// try plays the scenario at one rate. It stops as soon as the limit cannot be kept any more, so that a rate that is too
// high leaves no backlog.
func (p *play) try(ctx context.Context, rate float64, see func(result) error) (under bool, told string, err error) {
	var latencies []time.Duration
	slow, planned := 0, rate*p.duration.Seconds()
	late, err := p.deliver(ctx, newSchedule(p.scenario, p.source, rate, p.duration), fmt.Sprintf("%.0f/s", rate),
		func(r result) (bool, error) {
			latencies = append(latencies, r.Latency)
			if r.Latency > p.slo {
				slow++
			}
			return float64(slow) > planned/100, see(r)
		})
	if err != nil || len(latencies) == 0 {
		return false, "", err
	}
	slices.Sort(latencies)
	p99 := quantile(latencies, 0.99)
	told = fmt.Sprintf("%6.0f/s: p99 %v", rate, p99.Round(10*time.Microsecond))
	if late > p.slo {
		told += fmt.Sprintf(", and this machine sent up to %v too late", late.Round(time.Millisecond))
	}
	return p99 < p.slo && late <= p.slo, told, nil
}
