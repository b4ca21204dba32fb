package faults_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
)

// The settings of all replicas on which the checks depend.
const (
	lockTTL      = 3 * time.Second
	settle       = 2 * time.Second
	metricsFlush = 200 * time.Millisecond
)

var settings = []string{
	"LOCK_TTL=" + lockTTL.String(), "SETTLE=" + settle.String(), "METRICS_FLUSH=" + metricsFlush.String(),
	"REDIS_TIMEOUT=300ms", "REDIS_PATIENCE=2s", "WAIT_TIMEOUT=4s", "RESULT_TTL=1h", "REJECTED_TTL=1h", "JOURNAL_AGE=1h",
	"SWEEP_INTERVAL=2s", "UPSTREAM_BREAKER_PAUSE=500ms", "SHUTDOWN_TIMEOUT=10s",
	"TRAIL=10000000", // no event is dropped
}

// The defaults of a gateway. In a world where all replicas stay alive, no fault lasts that long: no lease ends, and a
// replica that was paused still puts back in time (docs/guarantees.md, the least safe SETTLE).
const defaultSettle = 3 * time.Second

var defaults = []string{"LOCK_TTL=20s", "SETTLE=" + defaultSettle.String()}

// world is a run: three replicas, the Redis that they share, the backend, and the faults.
type world struct {
	t        *testing.T
	strict   bool // nothing is excused
	history  *history
	backend  *backend
	replicas []*replica
	store    store
	reviving sync.WaitGroup // waits for replicas that were killed and are not back yet
	dying    atomic.Int32   // the number of these

	scans     sync.WaitGroup
	stopScans context.CancelFunc
}

// store is the Redis of a run.
type store interface {
	url(replica int) string       // REDIS_URL of a replica
	admin() string                // a URL that no fault cuts off
	servers() []*redistest.Server // the servers that serve commands
	faults() []fault
}

// open starts three replicas of a program before a store.
func open(t *testing.T, program string, s store, env ...string) *world {
	t.Helper()
	w := &world{t: t, history: &history{began: time.Now()}, store: s}
	w.backend = startBackend(t, w.history)
	for i := range 3 {
		log, err := os.Create(filepath.Join(t.ArtifactDir(), "replica-"+string('0'+rune(i))+".log"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = log.Close() })
		r := &replica{number: i, program: program, log: log}
		r.env = append(append([]string{"REDIS_URL=" + s.url(i), "UPSTREAM_URL=" + w.backend.URL}, settings...), env...)
		w.replicas = append(w.replicas, r)
		t.Cleanup(r.close)
	}
	var all sync.WaitGroup
	for _, r := range w.replicas {
		all.Go(func() {
			if err := r.start(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(w.reviving.Wait)
	w.history.began = time.Now()
	return w
}

// watchMachine records each time when the machine itself stopped as a pause of all replicas: if this process got no
// CPU, the replicas may have got none either.
func (w *world) watchMachine(ctx context.Context) {
	const beat, stall = 50 * time.Millisecond, 500 * time.Millisecond
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for last := w.history.now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := w.history.now()
			if now-last > stall {
				s := w.history.broken("the machine stood still", everybody, paused)
				w.history.mu.Lock()
				s.from, s.to = last, now
				w.history.mu.Unlock()
			}
			last = now
		}
	}
}

func (w *world) stop(replica int)      { w.replicas[replica].signal(w.t, syscall.SIGSTOP) }
func (w *world) goOn(replica int)      { w.replicas[replica].signal(w.t, syscall.SIGCONT) }
func (w *world) terminate(replica int) { w.replicas[replica].signal(w.t, syscall.SIGTERM) }
