package main

import (
	"context"
	"slices"
	"time"

	"github.com/oncegate/oncegate/loadtest/stage"
	"github.com/oncegate/oncegate/loadtest/verdict"
)

// sendBesideNoise sends the quiet tenant's webhooks for half of the time, and as many more while the noisy tenant sends
// its own.
func (p *play) sendBesideNoise(ctx context.Context) (notes []string, err error) {
	p.noise = &verdict.Noise{Ledger: verdict.NewLedger(), Tenant: stage.Noisy}
	p.duration /= 2
	notes, p.noise.Alone, err = p.sendTimed(ctx)
	if err != nil || ctx.Err() != nil {
		return notes, err
	}
	noisy := load{
		targets: p.stage.Targets(pathOf(stage.Noisy)), header: p.header.Clone(), connections: p.connections,
	}
	noisy.header.Set("X-API-Key", stage.NoisyKey)
	ended := make(chan error, 1)
	go func() {
		from := newSource(noise.name, p.seed, stage.Noisy)
		_, err := noisy.deliver(ctx, newSchedule(noise, from, louder*p.rate, p.duration), noise.name,
			func(r result) (bool, error) {
				p.noise.Note(r.answer())
				return false, nil
			})
		ended <- err
	}()
	more, beside, err := p.sendTimed(ctx)
	p.noise.Beside = beside
	if failed := <-ended; err == nil {
		err = failed
	}
	return append(append(notes, more...), "note      "+p.noise.String()), err
}

// sendTimed sends once and returns the p99 of all answers.
func (p *play) sendTimed(ctx context.Context) (notes []string, p99 time.Duration, err error) {
	from := len(p.report.points)
	notes, err = p.sendOnce(ctx)
	var latencies []time.Duration
	for _, point := range p.report.points[from:] {
		latencies = append(latencies, point.latency)
	}
	if len(latencies) == 0 {
		return notes, 0, err
	}
	slices.Sort(latencies)
	return notes, quantile(latencies, 0.99).Round(10 * time.Microsecond), err
}
