package gate_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// replicated adds a replica to the Redis of a testbed, and waits until it follows.
func replicated(h *testbed) *redistest.Server {
	host, port, err := net.SplitHostPort(h.server.Addr())
	if err != nil {
		h.Fatal(err)
	}
	s := redistest.Start(h, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	h.server.Config("repl-diskless-sync-delay", "0")
	h.eventually("the replica follows", func() bool {
		return strings.Contains(redistest.Do(h, h.client, "INFO", "replication"), "state=online")
	})
	return s
}

func acknowledged() gate.Options {
	o := options()
	o.ReplicasAck = 1
	o.RedisPatience = 2 * time.Second
	return o
}

func TestWhatIsExecutedAndAnsweredIsOnAReplica(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	replica := redistest.Client(t, replicated(h).Addr())
	r := h.open(acknowledged())
	state := func(n int) string {
		value := redistest.Do(h, replica, "GET", keys.Record(h.request(n, "").Fingerprint))
		return value[:min(1, len(value))]
	}
	for n := range 100 {
		h.setLogic(func(context.Context, int64) (record.Result, error) {
			if got := state(n); got != "P" {
				t.Errorf("webhook %d runs, and its replica has %q", n, got)
			}
			return answer(`{}`), nil
		})
		h.expect(r.send(n), gate.Executed, `{}`)
		if got := state(n); got != "D" {
			t.Errorf("webhook %d is answered, and its replica has %q", n, got)
		}
	}
	h.setLogic(func(context.Context, int64) (record.Result, error) { return answer(`{}`), nil })
	redistest.Do(t, h.client, "SCRIPT", "FLUSH")
	h.expect(r.send(1000), gate.Executed, `{}`)
	h.expectCounts(map[string]int64{"executed": 101, "stored": 101})
}

func TestWithoutTheReplicaNothingIsBegunOrAnswered(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	replica := replicated(h)
	r := h.open(acknowledged())
	h.expect(r.send(0), gate.Executed, `{"execution":1}`)
	entered, release := h.blocked()
	running := r.later(1)
	<-entered
	replica.Kill()
	close(release)
	h.expect(<-running, gate.Unavailable, "") // its store is not acknowledged
	start := time.Now()
	h.expect(r.send(2), gate.Unavailable, "")
	if took := time.Since(start); took > options().WaitTimeout/2 {
		t.Errorf("refused after %v", took)
	}
	h.expectExecutions(2)
	h.expect(r.send(0), gate.Replayed, `{"execution":1}`)
	replica.Restart()
	h.eventually("service", func() bool { return r.send(2).Outcome == gate.Executed })
	h.eventually("the result that could not be stored is there", func() bool {
		a := r.send(1)
		return string(a.Result.Body) == `{"attempt":1}`
	})
	if n := h.executions.Load(); n != 3 {
		t.Errorf("%d executions", n)
	}
}

func TestInAClusterReplicasAcknowledge(t *testing.T) {
	t.Parallel()
	o := clusterOptions()
	o.ReplicasAck = 1
	h, c, _ := onCluster(t, 3, 1, o)
	for n := range 60 {
		h.expect(h.replicas[n%2].send(n), gate.Executed, fmt.Sprintf(`{"execution":%d}`, n+1))
	}
	for _, s := range c.Servers {
		if stats := c.At(s, "INFO", "commandstats"); strings.Contains(c.At(s, "INFO", "replication"), "role:master") &&
			calls(stats, "wait") == 0 {
			t.Errorf("%s was never asked for acknowledgements", s.Addr())
		}
	}
	h.expectCounts(map[string]int64{"executed": 60, "stored": 60})
}

// TestAResultThatNoReplicaHasIsNotAnswered, not even by another gate that finds it, or to a caller that waited for it.
func TestAResultThatNoReplicaHasIsNotAnswered(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	replica := replicated(h)
	a, b := h.open(acknowledged()), h.open(acknowledged())
	entered, release := h.blocked()
	running, waiting := a.later(1), b.later(1)
	<-entered
	replica.Pause() // it is connected still, and counts as online
	defer replica.Resume()
	close(release)
	for _, got := range []gate.Answer{<-running, <-waiting, b.send(1)} {
		if got.Outcome != gate.Unavailable && got.Outcome != gate.Processing {
			t.Errorf("answer %s %s", name(got.Outcome), got.Result.Body)
		}
	}
	if r := h.recordOf(1); r.State != record.Done {
		t.Errorf("%+v stands: it was not stored", r)
	}
	replica.Resume()
	h.eventually("the result is answered", func() bool { return string(b.send(1).Result.Body) == `{"attempt":1}` })
	h.expectExecutions(1)
}

func TestAVerdictThatNoReplicaHasIsNotTold(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	replica := replicated(h)
	o := acknowledged()
	o.MaxAttempts = 1
	r := h.open(o)
	h.setLogic(func(context.Context, int64) (record.Result, error) { return record.Result{}, errLogic })
	h.expect(r.send(1), gate.Failed, "")
	replica.Pause() // it is connected still, and counts as online
	defer replica.Resume()
	h.expect(r.send(1), gate.Unavailable, "")
	replica.Resume()
	h.eventually("the verdict is told", func() bool { return r.send(1).Outcome == gate.Poisoned })
	h.expectExecutions(1)
}
