// Package load sends webhooks over many connections at once and counts what comes back. It is made to cost little,
// since it shares the machine with what it measures: no HTTP library, prebuilt bytes, a goroutine a connection.
package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Workload is which webhooks are sent.
type Workload string

// The workloads.
const (
	Storm     Workload = "storm"      // one webhook that is done, over and over
	Retries   Workload = "retries"    // each webhook three times, the next time after the answer
	FirstTime Workload = "first-time" // each webhook once
)

// times is how often a webhook is sent; 0: always the same.
func (w Workload) times() int64 { return map[Workload]int64{Retries: 3, FirstTime: 1}[w] }

// grace is how long answers are waited for after the end of a run.
const grace = 10 * time.Second

// Crowd is many connections, in turn to each of the addresses.
type Crowd []*Connection

// Gather opens n connections.
func Gather(ctx context.Context, addresses []string, n int) (Crowd, error) {
	crowd := make(Crowd, 0, n)
	for i := range n {
		c, err := Dial(ctx, addresses[i%len(addresses)])
		if err != nil {
			crowd.Close()
			return nil, fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
		crowd = append(crowd, c)
	}
	return crowd, nil
}

// Close ends all connections.
func (c Crowd) Close() {
	for _, connection := range c {
		connection.Close()
	}
}

// Limit ends a run at whichever comes first.
type Limit struct {
	Time     time.Duration
	Requests int64
}

// Outcome is what a run saw.
type Outcome struct {
	Requests  int64 // answered with 200
	Errors    int64 // answered otherwise, or not at all
	Elapsed   time.Duration
	Latencies Histogram // of those answered with 200
}

// Drive sends a workload in a closed loop: each connection sends its next webhook when the last one is answered.
func (c Crowd) Drive(ctx context.Context, w Workload, sequences *Sequences, limit Limit) (*Outcome, error) {
	var sent atomic.Int64
	var lock sync.Mutex // guards outcome and broken
	var outcome Outcome
	var broken error
	same := sequences.Next()
	if w == Storm && len(c) > 0 {
		// A storm is over what is done already: what comes while it runs is another comparison.
		c[0].Until(time.Now().Add(grace))
		if _, _, err := c[0].Post(same); err != nil {
			return nil, fmt.Errorf("%s: %w", w, err)
		}
	}
	start := time.Now()
	end := start.Add(limit.Time)
	var all sync.WaitGroup
	for _, connection := range c {
		connection.Until(end.Add(grace))
		all.Go(func() {
			var latencies Histogram
			var failed int64
			var err error
			sequence, times := same, w.times()
			before := time.Now()
			for i := int64(0); before.Before(end) && ctx.Err() == nil && sent.Add(1) <= limit.Requests; i++ {
				if times > 0 && i%times == 0 {
					sequence = sequences.Next()
				}
				var status int
				if status, _, err = connection.Post(sequence); err != nil {
					failed++
					break
				}
				after := time.Now()
				if status == http.StatusOK {
					latencies.Record(after.Sub(before))
				} else {
					failed++
				}
				before = after
			}
			lock.Lock()
			defer lock.Unlock()
			outcome.Latencies.Add(&latencies)
			outcome.Errors += failed
			broken = errors.Join(broken, err)
		})
	}
	all.Wait()
	outcome.Elapsed = time.Since(start)
	outcome.Requests = int64(outcome.Latencies.Count())
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if outcome.Requests == 0 {
		return nil, fmt.Errorf("%s: no answer of %d was a 200: %w", w, outcome.Errors, broken)
	}
	return &outcome, nil
}
