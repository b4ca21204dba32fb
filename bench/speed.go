package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/oncegate/oncegate/bench/contender"
	"github.com/oncegate/oncegate/bench/load"
	"github.com/oncegate/oncegate/bench/process"
)

// warmUp is how long each contender is loaded with storm and first-time at the start of a round. It is also the share
// of a cell's time that passes before the measurement begins.
const (
	warmUp      = 150 * time.Millisecond
	warmUpShare = 5
)

// measureSpeed goes through all cells in each round. In a cell the contenders are loaded directly one after the other,
// while the others are idle, and each round begins with another contender. So a disturbance of some seconds affects all
// contenders of a cell.
func (b *Bench) measureSpeed(ctx context.Context) error {
	bound, bounded := ctx.Deadline()
	for round := 1; round <= b.Rounds; round++ {
		start := time.Now()
		if err := b.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		b.report.Rounds = round
		if bounded && time.Until(bound) < time.Since(start)+b.Rest {
			break // a slow or busy machine gets fewer rounds, and the report says how many
		}
	}
	return nil
}

func (b *Bench) round(ctx context.Context, round int) error {
	progress("round %d of %d: starting %d contenders", round, b.Rounds, len(b.contenders))
	running, err := b.startAll(ctx)
	defer func() {
		for _, r := range running {
			r.Stop()
		}
	}()
	if err != nil {
		return err
	}
	for _, r := range running {
		for _, workload := range []load.Workload{load.Storm, load.FirstTime} {
			if _, err := b.measure(ctx, r, Cell{workload, 64}, warmUp); err != nil {
				return err
			}
		}
	}
	for _, cell := range b.Cells {
		for i := range running {
			r := running[(i+round-1)%len(running)]
			progress("round %d of %d: %s over %d connections: %s", round, b.Rounds, cell.Workload, cell.Connections, r.Name)
			sample, err := b.measure(ctx, r, cell, b.Time)
			if err != nil {
				return err
			}
			sample.Round = round
			b.report.Samples = append(b.report.Samples, sample)
		}
	}
	return nil
}

// startAll starts every contender, all at once, since most of the time is waiting. It returns those that were started
// even if another one failed.
func (b *Bench) startAll(ctx context.Context) ([]*contender.Running, error) {
	started := make([]*contender.Running, len(b.contenders))
	failures := make([]error, len(b.contenders))
	var all sync.WaitGroup
	for i, c := range b.contenders {
		all.Go(func() { started[i], failures[i] = b.start(ctx, c, c.Replicas, 0) })
	}
	all.Wait()
	var running []*contender.Running
	var failure error
	for i, r := range started {
		if r != nil {
			running = append(running, r)
		} else {
			failure = failures[i]
		}
	}
	return running, failure
}

// start starts a contender on a new Redis.
func (b *Bench) start(
	ctx context.Context, c *contender.Contender, replicas int, delay time.Duration,
) (*contender.Running, error) {
	store, err := process.StartRedis(ctx)
	if err != nil {
		return nil, err
	}
	return c.Start(ctx, b.bin, store, replicas, delay, b.sequences)
}

// measure loads a contender for a time and returns what it cost.
func (b *Bench) measure(ctx context.Context, r *contender.Running, cell Cell, limit time.Duration) (Sample, error) {
	wrap := func(err error) error {
		return fmt.Errorf("%s at %s over %d connections: %w", r.Name, cell.Workload, cell.Connections, err)
	}
	crowd, err := load.Gather(ctx, r.Addresses, cell.Connections)
	if err != nil {
		return Sample{}, wrap(err)
	}
	defer crowd.Close()
	if _, err := crowd.Drive(ctx, cell.Workload, b.sequences, load.Limit{Time: limit / warmUpShare,
		Requests: math.MaxInt64}); err != nil {
		return Sample{}, wrap(err)
	}
	cpuBefore, redisBefore, err := used(r)
	if err != nil {
		return Sample{}, wrap(err)
	}
	outcome, err := crowd.Drive(ctx, cell.Workload, b.sequences, load.Limit{Time: limit, Requests: 5_000_000})
	if err != nil {
		return Sample{}, wrap(err)
	}
	cpuAfter, redisAfter, err := used(r)
	if err != nil {
		return Sample{}, wrap(err)
	}
	each := func(d time.Duration) float64 {
		return float64(d.Nanoseconds()) / 1e3 / float64(outcome.Requests+outcome.Errors)
	}
	return Sample{
		Cell: cell, Contender: r.Name, Requests: outcome.Requests, Errors: outcome.Errors,
		Rate: float64(outcome.Requests) / outcome.Elapsed.Seconds(),
		P50:  outcome.Latencies.Quantile(0.5), P99: outcome.Latencies.Quantile(0.99),
		CPU: each(cpuAfter - cpuBefore), RedisCPU: each(redisAfter - redisBefore),
	}, nil
}

// used returns the CPU time that a contender and its Redis have used so far.
func used(r *contender.Running) (server, store time.Duration, err error) {
	if server, err = r.CPU(); err != nil {
		return 0, 0, err
	}
	store, err = r.Redis.CPU()
	return server, store, err
}
