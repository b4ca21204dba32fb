package gate_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

// onCluster is a testbed on a cluster, with two gates.
func onCluster(t *testing.T, primaries, replicas int, o gate.Options) (h *testbed, c *redistest.Cluster, _ *runs) {
	c = redistest.StartCluster(t, primaries, replicas)
	h = &testbed{TB: t, keys: redis.NewClusterKeys("cognigy", buckets), url: c.URL(), client: c.Client()}
	h.open(o)
	h.open(o)
	return h, c, new(runs)
}

func clusterOptions() gate.Options {
	o := options()
	o.Settle = 3 * time.Second
	return o
}

// runs counts the executions of each webhook.
type runs struct {
	mu sync.Mutex
	of map[int]int
}

// webhook returns the n-th webhook, whose execution takes so long and answers its number.
func (r *runs) webhook(h *testbed, n int, takes time.Duration) gate.Request {
	w := h.request(n, "body")
	w.Source = executes(func(ctx context.Context, _ int64, _ bool) (record.Result, error) {
		r.mu.Lock()
		if r.of == nil {
			r.of = make(map[int]int)
		}
		r.of[n]++
		r.mu.Unlock()
		select {
		case <-time.After(takes):
			return answer(fmt.Sprintf(`{"webhook":%d}`, n)), nil
		case <-ctx.Done():
			return record.Result{}, context.Cause(ctx)
		}
	})
	return w
}

// deliver sends a webhook, again while it is told to, as a flow does, until it has its result.
func (r *runs) deliver(h *testbed, replica, n int, takes time.Duration) (pauses int) {
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); pauses++ {
		w := r.webhook(h, n, takes)
		a, ok := h.replicas[replica].Replay(w)
		if !ok {
			a = h.replicas[replica].Do(w)
		}
		switch a.Outcome {
		case gate.Executed, gate.Replayed, gate.Waited:
			if want := fmt.Sprintf(`{"webhook":%d}`, n); string(a.Result.Body) != want {
				h.Errorf("webhook %d is answered %s", n, a.Result.Body)
			}
			return pauses
		case gate.Processing, gate.Unavailable, gate.Failed:
			time.Sleep(20 * time.Millisecond)
		default:
			h.Errorf("webhook %d: %s", n, name(a.Outcome))
			return pauses
		}
	}
	h.Errorf("webhook %d was never answered", n)
	return pauses
}

// once fails if a webhook ran more or less than once.
func (r *runs) once(t *testing.T, webhooks int) {
	t.Helper()
	for n := range webhooks {
		if r.of[n] != 1 {
			t.Errorf("webhook %d ran %d times", n, r.of[n])
		}
	}
}

func TestInAClusterEachWebhookRunsOnceAndTheBucketsAddUp(t *testing.T) {
	t.Parallel()
	const webhooks, each = 200, 6
	h, _, runs := onCluster(t, 3, 0, clusterOptions())
	var sent sync.WaitGroup
	for n := range webhooks {
		for i := range each {
			sent.Go(func() { runs.deliver(h, i%2, n, 0) })
		}
	}
	sent.Wait()
	runs.once(t, webhooks)
	h.expectCounts(map[string]int64{"total_requests": webhooks * each, "executed": webhooks, "stored": webhooks,
		"settlings": buckets})
	used := make(map[redis.Bucket]bool)
	for n := range webhooks {
		used[h.keys.Of(h.request(n, "").Fingerprint)] = true
		if r := h.recordOf(n); r.State != record.Done {
			t.Errorf("webhook %d: %+v stands at %s", n, r, h.keys.Record(h.request(n, "").Fingerprint))
		}
	}
	if len(used) != buckets {
		t.Errorf("%d buckets are used", len(used))
	}
}

func TestInAClusterAnotherReplicasExecutionIsWaitedFor(t *testing.T) {
	t.Parallel()
	h, _, _ := onCluster(t, 3, 0, clusterOptions())
	entered, release := h.blocked()
	first := h.replicas[0].later(1)
	<-entered
	second := h.replicas[1].later(1)
	time.Sleep(50 * time.Millisecond) // so that it waits already; it would get the same without
	close(release)
	released := time.Now()
	h.expect(<-first, gate.Executed, `{"attempt":1}`)
	h.expect(<-second, gate.Waited, `{"attempt":1}`)
	if took := time.Since(released); took > clusterOptions().LockTTL/2 {
		t.Errorf("the waiter was woken after %v: it was not told", took)
	}
}

func TestWhenAPrimaryDiesItsWebhooksArePausedAndNoOthers(t *testing.T) {
	t.Parallel()
	const webhooks = 120
	h, c, runs := onCluster(t, 3, 1, clusterOptions())
	victim := c.PrimaryOf(h.keys.Buckets()[0].Metrics())
	onVictim := make(map[redis.Bucket]bool)
	for _, b := range h.keys.Buckets() {
		onVictim[b] = c.PrimaryOf(b.Metrics()) == victim
	}
	var sent sync.WaitGroup
	var longest, elsewhere atomic.Int64
	for n := range webhooks {
		sent.Go(func() { runs.deliver(h, n%2, n, 12*time.Second) }) // longer than a lease: it lives by renewals
	}
	h.eventually("all run", func() bool { return h.metrics()["executed"] == webhooks })
	waitForReplicas(c, victim)
	victim.Kill()
	for n := webhooks; n < 2*webhooks; n++ {
		sent.Go(func() {
			start := time.Now()
			runs.deliver(h, n%2, n, 0)
			most := &longest
			if !onVictim[h.keys.Of(h.request(n, "").Fingerprint)] {
				most = &elsewhere
			}
			for took := int64(time.Since(start)); ; {
				if known := most.Load(); took <= known || most.CompareAndSwap(known, took) {
					break
				}
			}
		})
	}
	sent.Wait()
	for n := range webhooks { // retries find the records that the first ones left
		sent.Go(func() { runs.deliver(h, (n+1)%2, n, 0) })
	}
	sent.Wait()
	runs.once(t, 2*webhooks)
	t.Logf("longest pause: %v in the buckets of the primary that died, %v elsewhere",
		time.Duration(longest.Load()), time.Duration(elsewhere.Load()))
	if pause := time.Duration(elsewhere.Load()); pause > max(time.Second, time.Duration(longest.Load())/2) {
		t.Errorf("webhooks of other primaries were held up for %v", pause)
	}
	if h.metrics()["restored"] == 0 && h.metrics()["settlings"] <= buckets {
		t.Error("nobody settled: was it a failover?")
	}
}

// waitForReplicas waits until a primary's replica has all that was written up to now.
func waitForReplicas(c *redistest.Cluster, primary *redistest.Server) {
	c.At(primary, "WAIT", "1", "5000")
}

func TestSlotsMoveUnderLoad(t *testing.T) {
	t.Parallel()
	h, c, runs := onCluster(t, 3, 0, clusterOptions())
	added := c.Start()
	var stop atomic.Bool
	var sent sync.WaitGroup
	var next atomic.Int64
	for worker := range 8 {
		sent.Go(func() {
			for !stop.Load() {
				n := int(next.Add(1)) - 1
				var both sync.WaitGroup
				for i := range 2 {
					both.Go(func() { runs.deliver(h, (worker+i)%2, n, time.Millisecond) })
				}
				both.Wait()
				time.Sleep(10 * time.Millisecond) // the more records and calls there are, the longer a move takes
			}
		})
	}
	c.Cli("--cluster", "add-node", added.Addr(), c.Servers[0].Addr())
	c.WaitUntilWhole()
	// A quarter of a share: the first 420 slots of each primary, with four of the buckets. More slots would be empty ones.
	moved := c.Cli("--cluster", "rebalance", c.Servers[0].Addr(), "--cluster-use-empty-masters", "--cluster-pipeline",
		"100", "--cluster-weight", c.At(added, "CLUSTER", "MYID")+"=0.25")
	c.WaitUntilWhole()
	before := int(next.Load())
	h.eventually("load goes on after the move", func() bool { return int(next.Load()) > before+100 })
	stop.Store(true)
	sent.Wait()
	if !strings.Contains(moved, "Moving") || c.At(added, "DBSIZE") == "0" {
		t.Fatalf("nothing was moved:\n%s", moved)
	}
	webhooks := int(next.Load())
	runs.once(t, webhooks)
	for n := range webhooks { // every result is found where its slot has moved
		runs.deliver(h, n%2, n, 0)
	}
	runs.once(t, webhooks)
	h.expectSome(map[string]int64{"executed": int64(webhooks), "stored": int64(webhooks), "lost_leases": 0})
	t.Logf("%d webhooks, slots moved to %s", webhooks, added.Addr())
}
