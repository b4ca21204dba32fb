// Package load sends webhooks over many connections at once and counts the answers. It is made to cost little, because
// it shares the machine with what it measures: no HTTP library, prebuilt bytes, one goroutine for each connection.
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

// Workload says which webhooks are sent.
type Workload string

// The workloads.
const (
	Storm     Workload = "storm"      // one finished webhook, over and over
	Retries   Workload = "retries"    // each webhook three times, each time after the previous answer
	FirstTime Workload = "first-time" // each webhook once
)

// times returns how often each webhook is sent; 0: there is only one.
func (w Workload) times() int64 { return map[Workload]int64{Retries: 3, FirstTime: 1}[w] }

// grace is how long a run waits for answers after its end.
const grace = 10 * time.Second

// Crowd is a group of connections, in turn to each of the addresses.
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

// Limit ends a run at the first of its bounds that is reached.
type Limit struct {
	Time     time.Duration
	Requests int64
}

// Outcome is what a run counted.
type Outcome struct {
	Requests  int64 // number of answers with 200
	Errors    int64 // number of other answers, and of requests without an answer
	Elapsed   time.Duration
	Latencies Histogram // of answers with 200
}

// Drive sends a workload in a closed loop: each connection sends its next webhook when the previous one is answered.
func (c Crowd) Drive(ctx context.Context, w Workload, sequences *Sequences, limit Limit) (*Outcome, error) {
	var sent atomic.Int64
	var lock sync.Mutex // guards outcome and broken
	var outcome Outcome
	var broken error
	same := sequences.Next()
	if w == Storm && len(c) > 0 {
		// A storm sends a webhook that is finished already: duplicates of a running webhook are another comparison.
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
