package e2e_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
)

// failingOver holds settings for a failover that takes some seconds: no lease may end meanwhile.
var failingOver = []string{"LOCK_TTL=30s", "WAIT_TIMEOUT=7s", "REDIS_PATIENCE=5s"}

// load sends one webhook after the other, each to both replicas at once, and repeats each until it has its answer.
type load struct {
	t        *testing.T
	replicas []*replica

	sent     atomic.Int64 // the last sequence that was sent
	answered atomic.Int64 // number of deliveries
	again    atomic.Int64 // number of answers "ask again"
	stop     atomic.Bool
	running  sync.WaitGroup

	mu   sync.Mutex
	data map[int][]json.RawMessage // the answers to each sequence
}

// run starts this many callers, which send until end.
func (l *load) run(callers int) {
	l.t.Cleanup(l.end)
	for range callers {
		l.running.Go(func() {
			for !l.stop.Load() {
				n := int(l.sent.Add(1))
				var both sync.WaitGroup
				for _, r := range l.replicas {
					both.Go(func() { l.deliver(r, n) })
				}
				both.Wait()
			}
		})
	}
}

// end stops the callers and waits until all of them have their answers.
func (l *load) end() {
	l.stop.Store(true)
	l.running.Wait()
}

func (l *load) deliver(r *replica, n int) {
	for deadline := time.Now().Add(time.Minute); ; {
		a, err := r.send(n)
		if err == nil && a.code == 200 {
			l.answered.Add(1)
			l.mu.Lock()
			l.data[n] = append(l.data[n], a.Data)
			l.mu.Unlock()
			return
		}
		if l.t.Failed() || err != nil || a.code != 409 && a.code != 503 || time.Now().After(deadline) {
			l.t.Errorf("webhook %d is answered %+v, %v", n, a, err)
			return
		}
		l.again.Add(1)
		time.Sleep(50 * time.Millisecond) // as a flow does
	}
}

func TestAFailoverUnderLoadLosesNothingAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	w := redistest.StartWatched(t, documented(t, "+role", "+hgetall")...)
	url := w.URL(user)
	b := startBackend(t, 100*time.Millisecond)
	l := &load{t: t, replicas: startTwo(t, b.settings(url, failingOver...)...), data: make(map[int][]json.RawMessage)}
	l.run(8)
	eventually(t, "webhooks are answered", func() bool { return l.answered.Load() > 200 })

	// Replication is asynchronous: the primary that dies must have confirmed no write that its replica lacks.
	redistest.Do(t, redistest.Client(t, w.Primary.Addr()), "CLIENT", "PAUSE", "60000", "WRITE")
	w.CatchUp(t)
	before, killed := l.answered.Load(), time.Now()
	w.FailOver(t)
	promoted := time.Since(killed)
	eventually(t, "webhooks are answered again", func() bool { return l.answered.Load() > before+100 })
	t.Logf("promoted after %v, served again within %v; %d deliveries answered, %d told to ask again",
		promoted.Round(time.Millisecond), time.Since(killed).Round(time.Millisecond), l.answered.Load(), l.again.Load())
	l.end()

	executed := make(map[string]int)
	for _, call := range b.calls() {
		key, _, _ := strings.Cut(call, " ")
		executed[key]++
		if executed[key] > 1 {
			t.Errorf("%s is executed again", key)
		}
	}
	if webhooks := int(l.sent.Load()); len(executed) != webhooks {
		t.Errorf("%d executed of %d", len(executed), webhooks)
	}
	for n, data := range l.data {
		a, err := l.replicas[n%2].send(n)
		if err != nil || a.Status != "cached" || len(data) != 2 || !bytes.Equal(data[0], data[1]) ||
			!bytes.Equal(data[0], a.Data) {
			t.Errorf("webhook %d is answered %s, then %+v, %v", n, data, a, err)
		}
	}
	eventually(t, "the failover is counted", func() bool { return metrics(t, url)["settlings"] == 2. })
}

func TestARunningExecutionThatOnlyTheLostPrimaryKnewIsPutBack(t *testing.T) {
	t.Parallel()
	w := redistest.StartWatched(t, "--user", "replica", "on", ">PASSWORD", "~*", "&*", "+@all", "--masteruser", "replica",
		"--masterauth", "PASSWORD")
	url := w.URL("")
	b := startBackend(t, 12*time.Second)
	replicas := startTwo(t, b.settings(url, append(failingOver, "WAIT_TIMEOUT=30s")...)...)
	primary := redistest.Client(t, w.Primary.Addr())
	redistest.Do(t, primary, "ACL", "SETUSER", "replica", "off")
	redistest.Do(t, primary, "CLIENT", "KILL", "TYPE", "replica")

	answers := make(chan answer, 2)
	deliver := func(r *replica) {
		a, err := r.send(1)
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}
	go deliver(replicas[0])
	eventually(t, "it executes", func() bool { return len(b.calls()) == 1 })
	w.FailOver(t)
	go deliver(replicas[1])
	first, second := <-answers, <-answers
	if first.code != 200 || second.code != 200 || !bytes.Equal(first.Data, second.Data) || len(b.calls()) != 1 {
		t.Errorf("answers %+v, %+v; the backend was called so: %q", first, second, b.calls())
	}
	eventually(t, "it is counted", func() bool { m := metrics(t, url); return m["restored"] == 1. && m["stored"] == 1. })
}
