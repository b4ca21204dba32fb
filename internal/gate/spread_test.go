package gate_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/redistest"
)

// A Redis that was restarted and loads its data is asked by all replicas that it left without an answer at one moment.
func TestReplicasThatRepeatAClaimDoNotComeBackTogether(t *testing.T) {
	const replicas = 24
	const window = 50 * time.Millisecond
	h := onReal(t)
	o := options()
	o.LockTTL = time.Minute
	o.MetricsFlush = time.Minute
	engine := redistest.NewEngine(t, h.server.Addr())
	for range replicas {
		h.openAt(o, engine.URL())
	}
	engine.Says("EVALSHA", "-LOADING Redis is loading the dataset in memory")
	var mu sync.Mutex
	var came []time.Duration
	start := time.Now()
	engine.Hears(func(command string) {
		if words := strings.Fields(command); words[0] == "EVALSHA" && words[2] == "3" { // a claim, and no probe
			mu.Lock()
			came = append(came, time.Since(start))
			mu.Unlock()
		}
	})
	var answers []<-chan gate.Answer
	for i, r := range h.replicas {
		answers = append(answers, r.later(i))
	}
	time.Sleep(2 * time.Second) // for so long it loads
	engine.Passes()
	for _, answered := range answers {
		if a := <-answered; a.Outcome != gate.Executed {
			t.Errorf("answer %s", name(a.Outcome))
		}
	}
	mu.Lock()
	defer mu.Unlock()
	late, crowded := 0, 0
	for i, at := range came {
		if at < 500*time.Millisecond || at > 2*time.Second { // by then replicas that repeat in step would be 400 ms apart
			continue
		}
		late++
		together := 0
		for _, other := range came[i:] {
			if other-at < window {
				together++
			}
		}
		if together > replicas/2 {
			crowded++
		}
	}
	t.Logf("%d calls in 1.5 s, %d of them begin a crowd within %v", late, crowded, window)
	if late < replicas || crowded > late/3 { // a machine that stalls makes some crowds
		t.Errorf("%d calls in 1.5 s, %d of them in a crowd within %v: they come back together", late, crowded, window)
	}
}
