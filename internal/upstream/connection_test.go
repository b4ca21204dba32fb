package upstream_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/upstream"
)

// pair returns both ends of a connection.
func pair(t *testing.T) (ours *upstream.Connection, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { c.Close() })
	other, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { other.Close() })
	return upstream.NewConnection(c), other.(*net.TCPConn)
}

func TestAConnectionKnowsWhetherARequestWasWritten(t *testing.T) {
	type known struct{ untouched, stale bool }
	knows := func(c *upstream.Connection) (k known) {
		k.untouched, k.stale = c.Untouched()
		return k
	}
	t.Run("not begun", func(t *testing.T) {
		c, _ := pair(t)
		c.Begin(false)
		equal(t, knows(c), known{untouched: true})
	})
	t.Run("not begun, on a kept one", func(t *testing.T) {
		c, _ := pair(t)
		c.Begin(true)
		equal(t, knows(c), known{true, true})
	})
	t.Run("written, and perhaps read", func(t *testing.T) {
		c, theirs := pair(t)
		c.Begin(true)
		_, err := c.Write([]byte("POST"))
		must(t, err)
		theirs.Close()
		equal(t, knows(c), known{})
	})
	t.Run("the request before was written", func(t *testing.T) {
		c, _ := pair(t)
		_, err := c.Write([]byte("POST"))
		must(t, err)
		c.Begin(true)
		equal(t, knows(c), known{true, true})
	})
	t.Run("the kernel takes nothing", func(t *testing.T) {
		c, _ := pair(t)
		c.Begin(false)
		must(t, c.Conn.(*net.TCPConn).CloseWrite())
		if n, err := c.Write([]byte("POST")); n != 0 || err == nil {
			t.Errorf("%d bytes were written, %v", n, err)
		}
		equal(t, knows(c), known{untouched: true})
	})
	t.Run("the other side has closed a kept one", func(t *testing.T) {
		c, theirs := pair(t)
		theirs.Close()
		eventually(t, "its end is refused", func() bool {
			c.Begin(true)
			n, err := c.Write([]byte("x"))
			return n == 0 && err != nil
		})
		equal(t, knows(c), known{true, true})
	})
	t.Run("nothing is written after it was said so", func(t *testing.T) {
		c, theirs := pair(t)
		c.Begin(false)
		equal(t, knows(c), known{untouched: true})
		if n, err := c.Write([]byte("POST")); n != 0 || err == nil {
			t.Errorf("%d bytes were written, %v", n, err)
		}
		c.Close()
		got, err := io.ReadAll(theirs)
		equal(t, []any{len(got), err}, []any{0, error(nil)})
	})
}

func TestAConnectionThatIsNotUsedIsClosedInTime(t *testing.T) {
	var opened, closed atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	h := open(t, upstream.Options{URL: s.URL, IdleTimeout: 20 * time.Millisecond})
	for n := range int64(3) {
		h.gives(webhook())
		eventually(t, "it is closed", func() bool { return closed.Load() == n+1 })
	}
	equal(t, opened.Load(), int64(3))
}

// Each webhook comes just when the backend closes the connection of the previous one. The outcome that the gateway
// reports must be true: a webhook that was certainly not executed has not reached the backend, and one that was not
// written takes another connection.
func TestWebhooksThatMeetAClosingConnectionAreToldTheTruth(t *testing.T) {
	t.Parallel()
	const idle = 20 * time.Millisecond
	var seen sync.Map
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Idempotency-Key"), true)
		fmt.Fprint(w, "ok")
	}))
	s.Config.IdleTimeout = idle
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	t.Cleanup(s.Close)
	h := open(t, upstream.Options{URL: s.URL})
	outcomes := make(map[string]int)
	for n := range 100 {
		w := webhook()
		w.Fingerprint = fingerprint.Of([]byte("d"), []byte("paced"), int64(n))
		_, err := h.Execute(t.Context(), w)
		_, reached := seen.Load(w.Fingerprint.Hex())
		switch {
		case err == nil:
			outcomes["executed"]++
		case errors.Is(err, unknown):
			outcomes["unknown"]++
		case reached:
			t.Errorf("nothing was sent, it says, but the backend has it: %v", err)
		default:
			t.Errorf("it took no other connection: %v", err)
		}
		time.Sleep(idle - time.Millisecond + rand.N(2*time.Millisecond)) // the test is about this race with time
	}
	t.Log(outcomes)
	if outcomes["executed"] == 0 {
		t.Error("none was executed")
	}
}

func TestWithAnIdleTimeoutOf0NoConnectionIsKept(t *testing.T) {
	from := make(chan string, 2)
	u, err := upstream.New(upstream.Options{MaxResultBytes: 1,
		URL: serve(t, func(_ http.ResponseWriter, r *http.Request) { from <- r.RemoteAddr })})
	must(t, err)
	t.Cleanup(u.Close)
	for range 2 {
		_, err := u.Execute(t.Context(), webhook())
		must(t, err)
	}
	if a, b := <-from, <-from; a == b {
		t.Error("the second webhook came over the connection of the first one")
	}
}
