package handler_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/handler"
)

const overloaded = `{"detail":"Overloaded: nothing was executed, ask again"}`

// zeros posts so many of them, and returns the status. It tries again if the connection was reset: on a busy machine
// the sender may pause for longer than the gateway waits for what it does not want.
func (r *replica) zeros(size int) (status int, err error) {
	for range 5 {
		var answer *http.Response
		answer, err = http.Post("http://"+r.addr+"/webhook/cognigy", "application/json", bytes.NewReader(make([]byte, size)))
		if err == nil {
			_ = answer.Body.Close()
			return answer.StatusCode, nil
		}
	}
	return 0, err
}

func TestWhoShowsNoKeySeesThe401WhateverHeSends(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openWith(options(), handler.Options{APIKeys: []string{"key"}}, func(*handler.Server) {})
	for _, size := range []int{0, 1, 9 << 10, small, small + 1, 1 << 20, 16 << 20} {
		if status, err := r.zeros(size); status != 401 {
			t.Errorf("%d bytes: %d, %v", size, status, err)
		}
	}
	h.expect(r.exchange(posted("X-API-Key: key\r\nTransfer-Encoding: chunked\r\n", chunk+last)), 200,
		success(`{"execution":1}`),
		"Idempotency-Status: executed", named, first)
}

// Announcing a body costs the gateway nothing: strangers announce bodies that they never send.
func TestABodyTakesMemoryAsItComes(t *testing.T) {
	const connections, large = 30, 64 << 20
	h := onReal(t)
	for who, keys := range map[string][]string{"without keys": nil, "with a key that is not shown": {"key"}} {
		t.Run(who, func(t *testing.T) {
			var requests atomic.Int64 // that have begun: without a key, some may be over before the last one is
			r := h.openWith(options(), handler.Options{APIKeys: keys, MaxBodyBytes: large}, func(s *handler.Server) {
				bounds := s.ConnState
				s.ConnState = func(c net.Conn, state fasthttp.ConnState) {
					bounds(c, state)
					if state == fasthttp.StateActive {
						requests.Add(1)
					}
				}
			})
			inUse := func() (bytes uint64) {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapSys - m.HeapReleased
			}
			before := inUse()
			for range connections {
				c, err := dial(r.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := io.WriteString(c, posted(fmt.Sprintf("Content-Length: %d\r\n", large),
					webhook+strings.Repeat(" ", 20<<10))); err != nil {
					t.Fatal(err)
				}
			}
			h.eventually("all are being read", func() bool { return requests.Load() >= connections })
			if took := int64(inUse()) - int64(before); took > 64<<20 {
				t.Errorf("they take %d MiB", took>>20)
			}
		})
	}
}

func TestAllBodiesShareTheirMemory(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openWith(options(), handler.Options{MaxBodyBytes: 1 << 20, BodyMemory: 1 << 20}, func(*handler.Server) {})
	occupy := func() *connection {
		c, err := dial(r.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, posted("Content-Length: 1000000\r\n", webhook+strings.Repeat(" ", 900_000)))
		return c
	}
	c := occupy()
	large := webhook + strings.Repeat(" ", 500_000)
	h.eventually("there is no room", func() bool {
		if r.post(large).status == 503 {
			return true
		}
		_ = c.Close() // the other body came first, and this one may have been refused
		c = occupy()
		return false
	})
	h.expect(r.post(large), 503, overloaded, retryAfter)
	h.expect(r.exchange(chunked(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(large), large))), 503, overloaded, retryAfter)
	for _, size := range []int{len(webhook), 8 << 10} { // the others are served as ever
		if got := r.post(webhook + strings.Repeat(" ", size-len(webhook))); got.status != 200 {
			t.Errorf("%d bytes are answered\n%v", size, got)
		}
	}
	c.Close()
	h.eventually("there is room again", func() bool { return r.post(large).status == 200 })
	h.expectExecutions(1)
}
