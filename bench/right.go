package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/bench/contender"
	"github.com/oncegate/oncegate/bench/load"
)

const (
	rightTimes       = 20 // deliveries of each webhook, one right after the other
	rightConnections = 512
	rightDelay       = 400 * time.Millisecond // how long the logic takes
	rightPatience    = 2 * time.Minute        // bound of the whole comparison
)

// Right counts how a contender with two replicas handled webhooks that came many times at once.
type Right struct {
	Contender    string        `json:"contender"`
	Fingerprints int           `json:"fingerprints"`
	Deliveries   int           `json:"deliveries"`
	Extra        int64         `json:"extra_executions"`  // executions beyond one for each fingerprint
	Different    int           `json:"different_answers"` // 200s with other data than the first of their fingerprint
	Errors       int           `json:"errors"`            // answers other than 200
	Elapsed      time.Duration `json:"elapsed_ns"`
}

// delivery is the answer to one webhook.
type delivery struct {
	fingerprint int
	status      int
	data        string
}

// rightContenders returns the contenders that decide by themselves who executes. The variants of Oncegate decide as
// Oncegate does.
var rightContenders = []string{"oncegate", "nginx", "fiber", "nethttp", "python"}

func (b *Bench) measureRight(ctx context.Context) error {
	for _, name := range rightContenders {
		for _, c := range b.contenders {
			if c.Name != name {
				continue
			}
			progress("what is right: %s", c.Name)
			right, err := b.right(ctx, c)
			if err != nil {
				return fmt.Errorf("%s, at once: %w", c.Name, err)
			}
			b.report.Right = append(b.report.Right, right)
			if c.Name == "oncegate" && (right.Extra != 0 || right.Different != 0 || right.Errors != 0) {
				return fmt.Errorf("oncegate broke its promise: %d executions beyond one, %d answers that differ, %d errors",
					right.Extra, right.Different, right.Errors)
			}
		}
	}
	return nil
}

func (b *Bench) right(ctx context.Context, c *contender.Contender) (Right, error) {
	r, err := b.start(ctx, c, 2, rightDelay)
	if err != nil {
		return Right{}, err
	}
	defer r.Stop()
	before, err := executed(ctx, r)
	if err != nil {
		return Right{}, err
	}
	start := time.Now()
	deliveries, err := b.deliver(ctx, r)
	if err != nil {
		return Right{}, err
	}
	right := judge(deliveries, b.Fingerprints)
	right.Contender, right.Elapsed = c.Name, time.Since(start)
	if c.Name == "oncegate" {
		// Oncegate's built-in logic answers with the second, and not with a number for each execution. Its executions are
		// counted by its own counter.
		after, err := executed(ctx, r)
		if err != nil {
			return Right{}, err
		}
		right.Extra = after - before - int64(b.Fingerprints)
	}
	return right, nil
}

// deliver sends every webhook, a few at a time, over connections to both replicas.
func (b *Bench) deliver(ctx context.Context, r *contender.Running) ([]delivery, error) {
	crowd, err := load.Gather(ctx, r.Addresses, rightConnections)
	if err != nil {
		return nil, err
	}
	defer crowd.Close()
	sequences := make([]int64, b.Fingerprints)
	for i := range sequences {
		sequences[i] = b.sequences.Next()
	}
	deliveries := make([]delivery, b.Fingerprints*rightTimes)
	var next atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(rightPatience)
	for i, connection := range crowd {
		connection.Until(end)
		all.Go(func() {
			for {
				at := int(next.Add(1) - 1)
				if at >= len(deliveries) || ctx.Err() != nil {
					return
				}
				d := &deliveries[at]
				d.fingerprint = at / rightTimes
				status, body, err := connection.Post(sequences[d.fingerprint])
				if err != nil {
					connection.Close()
					if connection, err = load.Dial(ctx, r.Addresses[i%len(r.Addresses)]); err != nil {
						return
					}
					defer connection.Close()
					connection.Until(end)
					continue // a delivery without a status counts as an error
				}
				d.status = status
				var answer contender.Answer
				if json.Unmarshal(body, &answer) == nil {
					d.data = string(answer.Data)
				}
			}
		})
	}
	all.Wait()
	return deliveries, ctx.Err()
}

// judge counts wrong answers and extra executions. It does not see an execution whose answer nobody got.
func judge(deliveries []delivery, fingerprints int) Right {
	right := Right{Fingerprints: fingerprints, Deliveries: len(deliveries)}
	first := make([]string, fingerprints)
	distinct := make([]map[string]bool, fingerprints)
	for _, d := range deliveries {
		if d.status != http.StatusOK {
			right.Errors++
			continue
		}
		if distinct[d.fingerprint] == nil {
			first[d.fingerprint], distinct[d.fingerprint] = d.data, map[string]bool{}
		}
		if d.data != first[d.fingerprint] {
			right.Different++
		}
		distinct[d.fingerprint][d.data] = true
	}
	for _, data := range distinct {
		right.Extra += int64(max(len(data)-1, 0))
	}
	return right
}

// executed returns Oncegate's own count once it does not change any more: Redis adds it up with every claim. Other
// contenders have no such count.
func executed(ctx context.Context, r *contender.Running) (int64, error) {
	if r.Name != "oncegate" {
		return 0, nil
	}
	return r.Redis.Client.HGet(ctx, "cognigy:metrics", "executed").Int64()
}
