package gate_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
)

// of brings a tenant's webhook.
func (r *replica) of(t *gate.Tenant, n int) gate.Answer {
	w := r.testbed.request(n, "body")
	w.Tenant = t
	if a, ok := r.Replay(w); ok {
		return a
	}
	return r.Do(w)
}

// metered is a tenant that begins so many executions a second.
func (r *replica) metered(o gate.Options, rate, burst int) *gate.Tenant {
	rules := o.Rules
	rules.Name, rules.ExecutionsPerSecond, rules.Burst = "acme", rate, burst
	return r.Tenant(rules)
}

// limit brings webhooks of a tenant until one is limited, which it returns: there were no fewer than the burst, and no
// more than the rate allows besides.
func (r *replica) limit(acme *gate.Tenant) (n int, limited gate.Answer) {
	h := r.testbed
	h.Helper()
	began := time.Now()
	for ; ; n++ {
		limited = r.of(acme, n)
		if limited.Outcome == gate.Limited {
			break
		}
		if limited.Outcome != gate.Executed {
			h.Fatalf("%+v", limited)
		}
	}
	most := acme.Burst + int(time.Since(began).Seconds()*float64(acme.ExecutionsPerSecond))
	if n < acme.Burst || n > most {
		h.Errorf("%d executions began, and no more than %d may", n, most)
	}
	return n, limited
}

func TestALimitedTenantOnlyLooks(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		acme := r.metered(options(), 1, 3)
		n, limited := r.limit(acme)
		told := time.Now()
		if limited.RetryAfter <= 0 || limited.RetryAfter > time.Second {
			t.Errorf("%+v", limited)
		}
		t.Run("duplicates are free, also while it is limited", func(t *testing.T) {
			for range 50 {
				if a := r.of(acme, 1); a.Outcome != gate.Replayed {
					t.Errorf("%+v", a)
				}
			}
		})
		t.Run("others are not limited, nor others that are metered", func(t *testing.T) {
			if a := r.send(1000); a.Outcome != gate.Executed {
				t.Errorf("%+v", a)
			}
			rules := acme.Rules
			rules.Name = "beta"
			if a := r.of(r.Tenant(rules), 1001); a.Outcome != gate.Executed {
				t.Errorf("%+v", a)
			}
		})
		if again := r.of(acme, n+1); again.Outcome != gate.Limited && time.Since(told) < limited.RetryAfter {
			t.Errorf("at once again: %+v", again)
		}
		h.eventually("another one begins", func() bool { return r.of(acme, n).Outcome == gate.Executed })
	})
}

func TestColdDuplicatesTakeOneToken(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	first, second := h.open(options()), h.open(options())
	if a := first.of(first.metered(options(), 1, 2), 1); a.Outcome != gate.Executed {
		t.Fatalf("%+v", a)
	}
	acme := second.metered(options(), 1, 2)
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			if a := second.of(acme, 1); a.Outcome != gate.Replayed && a.Outcome != gate.Waited {
				t.Errorf("%+v", a)
			}
		})
	}
	all.Wait()
	if a := second.of(acme, 2); a.Outcome != gate.Executed {
		t.Errorf("the second token was taken: %+v", a)
	}
}

// demand brings one webhook of the tenant after the other to all replicas, as fast as they are answered. It returns how
// many executions began, and in how many seconds.
func (h *testbed) demand(o gate.Options, rate, burst int, lasts time.Duration) (begun int64, took float64) {
	h.Helper()
	var all sync.WaitGroup
	var next, counted atomic.Int64
	ctx, stop := context.WithTimeout(h.TB.Context(), lasts)
	defer stop()
	start := time.Now()
	next.Store(start.UnixMicro()) // webhooks that no demand before has brought
	for i := range 8 * len(h.replicas) {
		r := h.replicas[i%len(h.replicas)]
		acme := r.metered(o, rate, burst)
		all.Go(func() {
			for ctx.Err() == nil {
				w := h.request(int(next.Add(1)), "body")
				w.Tenant, w.Source = acme, executes(func(context.Context, int64, bool) (record.Result, error) {
					counted.Add(1)
					return answer("1"), nil
				})
				if a := r.Do(w); a.Outcome == gate.Limited {
					time.Sleep(5 * time.Millisecond)
				} else if a.Outcome != gate.Executed {
					h.Errorf("%+v", a)
				}
			}
		})
	}
	all.Wait()
	return counted.Load(), time.Since(start).Seconds()
}

func TestOverThreeReplicasNoMoreIsBegunThanTheRateAllows(t *testing.T) {
	t.Parallel()
	const rate, burst, lasts = 50, 20, 5 * time.Second
	h := onReal(t)
	for range 3 {
		h.open(options())
	}
	n, took := h.demand(options(), rate, burst, lasts)
	if most := int64(rate*took) + burst; n > most {
		t.Errorf("%d executions began in %.2f s: more than %d", n, took, most)
	}
	if least := int64(0.95 * (rate*lasts.Seconds() + burst)); n < least {
		t.Errorf("%d executions began in %.2f s: fewer than %d", n, took, least)
	}
	h.expectCounts(map[string]int64{"acme/executed": n, "acme/stored": n, "executed": n})
}

// TestInAClusterEachBucketHasItsShareOfTheRate: over all no more than the rate allows, and the larger of the burst and
// the number of buckets.
func TestInAClusterEachBucketHasItsShareOfTheRate(t *testing.T) {
	t.Parallel()
	h, _, _ := onCluster(t, 3, 0, clusterOptions())
	const rate, lasts = 48, 5 * time.Second
	for burst, least := range map[int]float64{4 * buckets: 0.9, 1: 0.5} { // a bucket that holds one token loses time
		n, took := h.demand(clusterOptions(), rate, burst, lasts)
		bound := int64(max(burst, buckets))
		if most := int64(rate*took) + bound; n > most {
			t.Errorf("with a burst of %d, %d executions began in %.2f s: more than %d", burst, n, took, most)
		}
		if least := int64(least * rate * lasts.Seconds()); n < least {
			t.Errorf("with a burst of %d, %d executions began in %.2f s: fewer than %d", burst, n, took, least)
		}
	}
}

func TestALimitedTenantIsToldThatRedisIsAway(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openBehindProxy(options())
	acme := r.metered(options(), 1, 1)
	n, _ := r.limit(acme)
	r.proxy.Cut()
	for i := range 2 {
		if a := r.of(acme, n+i); a.Outcome != gate.Unavailable {
			t.Errorf("without Redis: %+v", a)
		}
	}
	r.proxy.Mend()
	h.eventually("another one begins", func() bool { return r.of(acme, n+2).Outcome == gate.Executed })
}
