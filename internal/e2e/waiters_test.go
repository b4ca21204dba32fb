package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
)

// TestTenThousandWaitersAllGetTheAnswer also checks that they cost bounded memory while they wait.
func TestTenThousandWaitersAllGetTheAnswer(t *testing.T) {
	const mostMiB = 400
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	waiters := min(10_000, int(limit.Cur)-500) // fewer if this machine allows fewer descriptors
	release := make(chan struct{})
	var calls atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		<-release
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"booked":true}`)
	}))
	defer backend.Close()
	built := plain(t)
	r := &soaked{startBuilt(t, built, "REDIS_URL="+redistest.Start(t).URL(), "SETTLE=0", "UPSTREAM_URL="+backend.URL,
		"WAIT_TIMEOUT=1m", "EXECUTION_TIMEOUT=1m")}
	before := r.sample()

	body := `{"dialogId":"d","nodeId":"n","sequence":1,"variables":{"fill":"` + strings.Repeat("x", 1000) + `"}}`
	request := fmt.Sprintf("POST /webhook/cognigy HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	connections := make([]net.Conn, waiters)
	for i := range connections {
		c, err := net.Dial("tcp", r.address())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		connections[i] = c
	}
	var waiting sample
	eventuallyIn(t, time.Minute, "all wait", func() bool {
		last := waiting
		waiting = r.sample()
		time.Sleep(200 * time.Millisecond)
		return waiting.descriptors >= before.descriptors+waiters && waiting.memory == last.memory
	})
	t.Logf("%d waiting connections: %d MiB, %d before", waiters, waiting.memory, before.memory)
	if waiting.memory > mostMiB {
		t.Errorf("they take %d MiB", waiting.memory)
	}
	close(release)

	var reading sync.WaitGroup
	var right atomic.Int64
	for _, c := range connections {
		reading.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			reply, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Error(err)
				return
			}
			text, err := io.ReadAll(reply.Body)
			_ = reply.Body.Close()
			if err != nil || reply.StatusCode != 200 || !strings.Contains(string(text), `"data":{"booked":true}`) {
				t.Errorf("%d %s, %v", reply.StatusCode, text, err)
				return
			}
			right.Add(1)
		})
	}
	reading.Wait()
	if right.Load() != int64(waiters) || calls.Load() != 1 {
		t.Errorf("%d of %d got the answer, the backend was called %d times", right.Load(), waiters, calls.Load())
	}
}
