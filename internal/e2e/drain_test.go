package e2e_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
)

// ready asks /readyz and returns the status, and whether the connection was closed.
func (r *replica) ready() (status int, closed bool) {
	r.t.Helper()
	reply, err := http.Get(r.url + "/readyz")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	return reply.StatusCode, reply.Close
}

func (r *replica) drains() {
	r.t.Helper()
	eventually(r.t, "it drains", func() bool { return strings.Contains(r.logs(), "msg=\"draining") })
}

func TestDrainingServesWebhooksWhileReadyzSaysNo(t *testing.T) {
	t.Parallel()
	const delay = 12 * time.Second
	r := start(t, "DRAIN_DELAY="+delay.String(), "ECHO_DELAY=4s")
	if status, closed := r.ready(); status != 200 || closed {
		t.Errorf("before: %d, closed %v", status, closed)
	}
	waits := make(chan bool, 1) // a request that comes before the signal and is answered after it
	go func() {
		body := strings.NewReader(`{"dialogId":"d","nodeId":"n","sequence":0}`)
		reply, err := http.Post(r.url+"/webhook/cognigy", "application/json", body)
		waits <- err == nil && reply.Close && reply.StatusCode == 200
	}()
	eventually(t, "it executes", func() bool { return r.status(0) == http.StatusAccepted })
	begun := time.Now()
	r.signal(syscall.SIGTERM)
	r.drains()
	if status, closed := r.ready(); status != 503 || !closed {
		t.Errorf("while it drains: %d, closed %v", status, closed)
	}
	if a, err := r.send(1); err != nil || a.Status != "success" {
		t.Errorf("while it drains: %+v, %v", a, err)
	}
	if !<-waits {
		t.Error("an answer to an earlier request does not close its connection")
	}
	if code := r.exit(); code != 0 || time.Since(begun) < delay {
		t.Errorf("exit status %d after %v:\n%s", code, time.Since(begun), r.logs())
	}
}

// TestAReplicaThatIsStoppedSaysGoodbye, so that no deploy is shown as a crash.
func TestAReplicaThatIsStoppedSaysGoodbye(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	admin := redistest.Client(t, s.Addr())
	r := start(t, "REDIS_URL="+s.URL(), "SETTLE=0", "ADMIN_LISTEN=127.0.0.1:0")
	shown := func(n string) func() bool {
		return func() bool { return redistest.Do(t, admin, "ZCARD", "cognigy:replicas") == n }
	}
	eventually(t, "it is among the replicas", shown("1"))
	r.signal(syscall.SIGTERM)
	if code := r.exit(); code != 0 || !shown("0")() {
		t.Errorf("it ends with %d, and stays among the replicas:\n%s", code, r.logs())
	}
}

func TestASecondSignalSkipsTheDelayAndAThirdEndsItAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, "DRAIN_DELAY=1m", "ECHO_DELAY=30s", "EXECUTION_TIMEOUT=30s")
	go func() { _, _ = r.send(1) }()
	eventually(t, "it executes", func() bool { return r.status(1) == http.StatusAccepted })
	r.signal(syscall.SIGTERM)
	r.drains()
	r.signal(syscall.SIGTERM)
	eventually(t, "it shuts down", func() bool { return strings.Contains(r.logs(), "shutting down") })
	begun := time.Now()
	r.signal(syscall.SIGTERM)
	if code := r.exit(); code == 0 || time.Since(begun) > 20*time.Second {
		t.Errorf("exit status %d after %v", code, time.Since(begun))
	}
}

func TestASecondSignalEndsADrainThatHasNothingToWaitFor(t *testing.T) {
	t.Parallel()
	r := start(t, "DRAIN_DELAY=1m")
	r.signal(syscall.SIGTERM)
	r.drains()
	r.signal(syscall.SIGTERM)
	if code := r.exit(); code != 0 {
		t.Errorf("exit status %d:\n%s", code, r.logs())
	}
}
