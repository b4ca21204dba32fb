package gate_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// The tests of docs/guarantees.md, for each Redis setup. If a line says that something is lost, its test shows the
// loss.

// lostBy tells how many of the webhooks that were answered before a fault execute again after it. knowing: a replica
// that answered lives on.
func (h *testbed) lostBy(o gate.Options, knowing bool, fault func()) (lost int) {
	h.Helper()
	const webhooks = 50
	a := h.openBehindProxy(o)
	for n := range webhooks {
		h.expectOne(a.send(n), gate.Executed)
	}
	if !knowing {
		if err := a.Close(context.Background()); err != nil {
			h.Fatal(err)
		}
	}
	fault()
	b := h.open(o)
	for n := range webhooks {
		if b.send(n).Outcome == gate.Executed {
			lost++
		}
	}
	return lost
}

func (h *testbed) expectOne(a gate.Answer, outcome gate.Outcome) {
	h.Helper()
	if a.Outcome != outcome {
		h.Fatalf("answer %s, want %s", name(a.Outcome), name(outcome))
	}
}

func TestWhatARestartOfRedisLoses(t *testing.T) {
	t.Parallel()
	for setup, c := range map[string]struct {
		args    []string
		knowing bool
		all     bool // is lost; false: nothing is
	}{
		"no persistence, a replica lives": {nil, true, false},
		"no persistence, none lives":      {nil, false, true},
		"AOF everysec, a replica lives":   {[]string{"--appendonly", "yes", "--appendfsync", "everysec"}, true, false},
		// the machine's death would lose a second
		"AOF everysec, none lives":    {[]string{"--appendonly", "yes", "--appendfsync", "everysec"}, false, false},
		"AOF always, a replica lives": {[]string{"--appendonly", "yes", "--appendfsync", "always"}, true, false},
		"AOF always, none lives":      {[]string{"--appendonly", "yes", "--appendfsync", "always"}, false, false},
	} {
		t.Run(setup, func(t *testing.T) {
			t.Parallel()
			h := onReal(t, c.args...)
			lost := h.lostBy(forgetful(), c.knowing, func() {
				h.server.Kill()
				h.server.Restart()
			})
			if c.all && lost != 50 || !c.all && lost != 0 {
				t.Errorf("%d of 50 webhooks executed again", lost)
			}
		})
	}
}

func TestWhatAFailoverToAReplicaThatLagsLoses(t *testing.T) {
	t.Parallel()
	for setup, c := range map[string]struct {
		knowing, lost bool
	}{
		"a replica that answered lives": {true, false},
		"none lives":                    {false, true},
	} {
		t.Run(setup, func(t *testing.T) {
			t.Parallel()
			h := onReal(t)
			lagging := replicated(h)
			h.cutLink(lagging)
			lost := h.lostBy(forgetful(), c.knowing, func() { h.failOver(lagging) })
			if (lost == 50) != c.lost || (lost == 0) == c.lost {
				t.Errorf("%d of 50 webhooks executed again", lost)
			}
		})
	}
}

// TestWithReplicasThatAcknowledgeAFailoverLosesNothing, although no replica lives that could put it back.
func TestWithReplicasThatAcknowledgeAFailoverLosesNothing(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	replica := replicated(h)
	o := forgetful()
	o.ReplicasAck = 1
	a := h.open(o)
	for n := range 50 {
		h.expectOne(a.send(n), gate.Executed)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	h.failOver(replica)
	b := h.open(forgetful())
	for n := range 50 {
		h.expectOne(b.send(n), gate.Replayed)
	}
}

// TestAFailoverWhileAllGoesOn: executions run and results were answered, of which the new primary has nothing.
func TestAFailoverWhileAllGoesOn(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	lagging := replicated(h)
	o := forgetful()
	a, b := h.openBehindProxy(o), h.openBehindProxy(o)
	h.cutLink(lagging)
	for n := range 30 {
		h.expectOne(a.send(n), gate.Executed)
	}
	entered, release := h.blocked()
	running := a.later(100)
	<-entered
	waiting := b.later(100)
	start := time.Now()
	h.failOver(lagging)
	next := b.later(200) // it can't be decided before all is put back
	for n := range 30 {
		h.expectOne(b.send(n), gate.Replayed)
	}
	t.Logf("answered %v after the failover began", time.Since(start))
	close(release)
	h.expect(<-running, gate.Executed, `{"attempt":1}`)
	h.expect(<-waiting, gate.Waited, `{"attempt":1}`)
	h.expect(<-next, gate.Executed, `{"attempt":1}`)
	h.expectExecutions(32)
}

// cutLink parts a replica from its primary, which it will not see again.
func (h *testbed) cutLink(replica *redistest.Server) {
	h.Helper()
	redistest.Do(h, h.client, "ACL", "SETUSER", "default", "-psync", "-sync")
	redistest.Do(h, h.client, "CLIENT", "KILL", "TYPE", "replica")
	h.eventually("the link is cut", func() bool {
		return strings.Contains(redistest.Do(h, redistest.Client(h, replica.Addr()), "INFO", "replication"),
			"master_link_status:down")
	})
}

// failOver promotes a replica and leads all to it.
func (h *testbed) failOver(replica *redistest.Server) {
	h.Helper()
	h.server.Kill()
	client := redistest.Client(h, replica.Addr())
	redistest.Do(h, client, "REPLICAOF", "NO", "ONE")
	h.client, h.url, h.server = client, replica.URL(), replica
	for _, r := range h.replicas {
		if r.proxy != nil {
			r.proxy.Cut()
			r.proxy.Turn(replica.Addr())
			r.proxy.Mend()
		}
	}
}

// used is how many bytes Redis uses.
func (h *testbed) used() (bytes int) {
	for line := range lines(redistest.Do(h, h.client, "INFO", "memory")) {
		if text, ok := strings.CutPrefix(line, "used_memory:"); ok {
			bytes, _ = strconv.Atoi(text)
		}
	}
	return bytes
}

func TestWhatAFullRedisLoses(t *testing.T) {
	t.Parallel()
	for policy, evicts := range map[string]bool{
		"noeviction": false, "allkeys-lru": true, "allkeys-lfu": true, "allkeys-random": true,
		"volatile-lru": true, "volatile-lfu": true, "volatile-random": true, "volatile-ttl": true,
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			h := onReal(t, "--maxmemory-policy", policy)
			o := options()
			o.RedisPatience = time.Second
			a := h.open(o)
			h.setLogic(func(context.Context, int64) (record.Result, error) {
				return answer(`"` + strings.Repeat("x", 10_000) + `"`), nil
			})
			const webhooks = 200
			for n := range webhooks {
				h.expectOne(a.send(n), gate.Executed)
			}
			h.server.Config("maxmemory", strconv.Itoa(h.used()-webhooks*10_000/3))
			refused := 0
			for n := webhooks; n < webhooks+20; n++ {
				if a.send(n).Outcome == gate.Unavailable {
					refused++
				}
			}
			again := 0
			b := h.open(o)
			for n := range webhooks {
				if a := b.send(n); a.Outcome != gate.Replayed {
					again++
				}
			}
			h.server.Config("maxmemory", "0")
			if evicts && again == 0 || !evicts && (again > 0 || refused != 20) {
				t.Errorf("%d of 20 new webhooks were refused, %d of %d old ones were not replayed", refused, again, webhooks)
			}
		})
	}
}

// TestAFailoverThatNoConnectionShows: a proxy keeps the connections, and leads them to a primary that has next to
// nothing.
func TestAFailoverThatNoConnectionShows(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	redistest.Do(t, h.client, "SAVE")
	a, b := h.openUntold(forgetful()), h.openUntold(forgetful())
	for n := range 30 {
		h.expectOne(a.send(n), gate.Executed)
	}
	entered, release := h.blocked()
	running := a.later(100)
	<-entered
	h.failOverUnseen()
	next := b.later(200)
	for n := range 30 {
		h.expectOne(b.send(n), gate.Replayed)
	}
	close(release)
	h.expect(<-running, gate.Executed, `{"attempt":1}`)
	h.expect(<-next, gate.Executed, `{"attempt":1}`)
	h.expectExecutions(32)
	h.expectSome(map[string]int64{"restored": 31, "settlings": 1})
}

// TestAReplicaThatHasNothingToDoNoticesItToo, because it knows its last answers.
func TestAReplicaThatHasNothingToDoNoticesItToo(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	redistest.Do(t, h.client, "SAVE")
	a := h.openUntold(forgetful())
	for n := range 30 {
		h.expectOne(a.send(n), gate.Executed)
	}
	h.expectCounts(map[string]int64{"executed": 30, "total_requests": 30}) // it has no counters to bring either
	h.failOverUnseen()
	b := h.open(forgetful())
	for n := range 30 {
		h.expectOne(b.send(n), gate.Replayed)
	}
}

// openUntold adds a replica to which Redis reports neither changes nor lost records.
func (h *testbed) openUntold(o gate.Options) *replica { return h.openAt(o, h.url+"?protocol=2") }

// failOverUnseen makes Redis take back its first snapshot under another replication id, while all connections stay.
func (h *testbed) failOverUnseen() {
	h.Helper()
	build := h.client.B()
	for _, reply := range h.client.DoMulti(context.Background(), build.Multi().Build(), build.Arbitrary("DEBUG", "RELOAD",
		"NOSAVE").Build(),
		build.Arbitrary("DEBUG", "CHANGE-REPL-ID").Build(), build.Exec().Build()) {
		if err := reply.Error(); err != nil {
			h.Fatal(err)
		}
	}
}
