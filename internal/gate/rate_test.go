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
	if a, ok := r.Replay(t, w.Fingerprint, w.Digest, time.Now()); ok {
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

func TestALimitedTenantOnlyLooks(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		acme := r.metered(options(), 1, 3)
		for n := range 3 {
			if a := r.of(acme, n); a.Outcome != gate.Executed {
				t.Errorf("%+v", a)
			}
		}
		limited := r.of(acme, 10)
		if limited.Outcome != gate.Limited || limited.RetryAfter <= 0 || limited.RetryAfter > time.Second {
			t.Errorf("the fourth: %+v", limited)
		}
		t.Run("duplicates are free, also while it is limited", func(t *testing.T) {
			for range 50 {
				if a := r.of(acme, 1); a.Outcome != gate.Replayed {
					t.Errorf("%+v", a)
				}
			}
		})
		t.Run("others are not limited", func(t *testing.T) {
			if a := r.send(100); a.Outcome != gate.Executed {
				t.Errorf("%+v", a)
			}
		})
		if again := r.of(acme, 10); again.Outcome != gate.Limited {
			t.Errorf("at once again: %+v", again)
		}
		h.eventually("another one begins", func() bool { return r.of(acme, 10).Outcome == gate.Executed })
	})
}

func TestColdDuplicatesTakeOneToken(t *testing.T) {
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

func TestOverThreeReplicasNoMoreIsBegunThanTheRateAllows(t *testing.T) {
	const rate, burst, lasts = 100, 20, 2 * time.Second
	h := onReal(t)
	var begun atomic.Int64
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		begun.Add(1)
		return answer("1"), nil
	})
	o := options()
	replicas := []*replica{h.open(o), h.open(o), h.open(o)}
	var next atomic.Int64
	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	start := time.Now()
	var all sync.WaitGroup
	for i := range 24 {
		r := replicas[i%len(replicas)]
		acme := r.metered(o, rate, burst)
		all.Go(func() {
			for ctx.Err() == nil {
				if a := r.of(acme, int(next.Add(1))); a.Outcome == gate.Limited {
					time.Sleep(time.Millisecond)
				} else if a.Outcome != gate.Executed {
					t.Errorf("%+v", a)
				}
			}
		})
	}
	all.Wait()
	took, n := time.Since(start).Seconds(), begun.Load()
	if most := int64(rate*took) + burst + 1; n > most {
		t.Errorf("%d executions began in %.2f s: more than %d", n, took, most)
	}
	h.expectCounts(map[string]int64{"acme/executed": n, "acme/stored": n, "executed": n})
	if least := int64(0.95 * (rate*lasts.Seconds() + burst)); n < least {
		t.Errorf("%d executions began in %.2f s: fewer than %d", n, took, least)
	}
}
