package gate_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// calls is how many times Redis has run the script.
func (h *testbed) calls() (n int) {
	h.Helper()
	for line := range strings.Lines(redistest.Do(h, h.client, "INFO", "commandstats")) {
		for _, command := range []string{"evalsha", "eval"} {
			if text, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
				var calls int
				_, _ = fmt.Sscanf(text, "%d", &calls)
				n += calls
			}
		}
	}
	return n
}

func TestWhatArrivesDuringACallGoesOutTogether(t *testing.T) {
	t.Parallel()
	const webhooks = 400
	h := onReal(t)
	r := h.openBehindProxy(options())
	before := h.calls()
	r.proxy.Hold() // no reply comes back, so that operations gather
	var sent sync.WaitGroup
	for n := range webhooks {
		sent.Go(func() {
			if a := r.send(n); a.Outcome != gate.Executed {
				t.Errorf("webhook %d was %s", n, name(a.Outcome))
			}
		})
	}
	h.eventually("a call is under way", func() bool { return h.calls() > before })
	r.waits(webhooks)
	r.proxy.Mend()
	sent.Wait()
	h.expectExecutions(webhooks)
	if calls := h.calls() - before; calls > webhooks/4 {
		t.Errorf("%d webhooks took %d calls", webhooks, calls)
	}
	h.expectCounts(map[string]int64{"total_requests": webhooks, "executed": webhooks, "stored": webhooks})
}

func TestUngroupedEachOperationIsACallOfItsOwn(t *testing.T) {
	t.Parallel()
	const webhooks = 100
	h := onReal(t)
	o := options()
	o.Ungrouped = true
	r := h.open(o)
	before := h.calls()
	var sent sync.WaitGroup
	for n := range webhooks {
		sent.Go(func() { r.send(n) })
	}
	sent.Wait()
	if calls := h.calls() - before; calls < 2*webhooks {
		t.Errorf("%d webhooks took %d calls", webhooks, calls)
	}
	h.expectExecutions(webhooks)
}

func TestOneOfAGroupSpoilsNoOther(t *testing.T) {
	t.Parallel()
	const webhooks = 100
	h := onReal(t)
	for n := 0; n < webhooks; n += 2 {
		h.setValue(n, "rubbish")
	}
	r := h.open(options())
	var sent sync.WaitGroup
	for n := range webhooks {
		sent.Go(func() {
			want := gate.Executed
			if n%2 == 0 {
				want = gate.Foreign
			}
			if a := r.send(n); a.Outcome != want {
				t.Errorf("webhook %d was %s, want %s", n, name(a.Outcome), name(want))
			}
		})
	}
	sent.Wait()
	h.expectExecutions(webhooks / 2)
}

func TestLargeResultsDoNotCrowdAReply(t *testing.T) {
	t.Parallel()
	const webhooks = 30
	h := onReal(t)
	body := `"` + strings.Repeat("x", 500<<10) + `"`
	h.setLogic(func(context.Context, int64) (record.Result, error) { return answer(body), nil })
	o := options()
	a, b := h.open(o), h.open(o)
	for n := range webhooks {
		a.send(n)
	}
	var sent sync.WaitGroup
	for range 3 {
		for n := range webhooks {
			sent.Go(func() {
				if got := b.send(n); string(got.Result.Body) != body {
					t.Errorf("webhook %d was %s with %d bytes", n, name(got.Outcome), len(got.Result.Body))
				}
			})
		}
	}
	sent.Wait()
	h.expectExecutions(webhooks)
	h.expectCounts(map[string]int64{"total_requests": 4 * webhooks, "executed": webhooks})
}

func TestWhoGathersBehindASilentRedisIsToldInTime(t *testing.T) {
	t.Parallel()
	const webhooks = 2000
	h := onReal(t)
	o := options()
	o.RedisTimeout, o.RedisPatience, o.WaitTimeout = time.Second, 2*time.Second, time.Minute
	r := h.openBehindProxy(o)
	r.proxy.Hold()
	start := time.Now()
	var sent sync.WaitGroup
	for n := range webhooks {
		sent.Go(func() {
			if a := r.send(n); a.Outcome != gate.Unavailable {
				t.Errorf("webhook %d was %s", n, name(a.Outcome))
			}
		})
	}
	sent.Wait()
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("the last one was told after %v", took)
	}
	r.proxy.Mend()
	h.eventually("normal service", func() bool { return r.send(webhooks).Outcome == gate.Executed })
}
