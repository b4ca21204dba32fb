package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/proc"
)

// backend books whenever it is asked to and ignores the key: a webhook that comes twice is booked twice. (The backend
// in examples/bookings honours the key.)
type backend struct {
	t       *testing.T
	address string
	token   string // the access token that requests must carry; "": none
	server  *http.Server
	die     context.CancelFunc

	mu       sync.Mutex
	lines    []string          // one for each call
	working  map[string]bool   // by key
	bookings map[string]string // by key; the last one
}

// startBackend starts a backend that takes delay for a booking.
func startBackend(t *testing.T, delay time.Duration) *backend {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{t: t, address: "127.0.0.1:" + port, bookings: make(map[string]string)}
	b.start(delay)
	t.Cleanup(func() { b.kill() })
	return b
}

// start starts the backend, or restarts it after kill at the same address.
func (b *backend) start(delay time.Duration) {
	b.t.Helper()
	listener, err := net.Listen("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	life, die := context.WithCancel(context.Background())
	b.mu.Lock()
	b.die, b.working = die, make(map[string]bool)
	b.mu.Unlock()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /book", func(w http.ResponseWriter, r *http.Request) { b.book(life, w, r, delay) })
	mux.HandleFunc("GET /book/{key}", b.find)
	b.server = &http.Server{Handler: mux}
	go func() { _ = b.server.Serve(listener) }()
}

// kill cuts all connections. Bookings under way are never made; those that were made stay.
func (b *backend) kill() {
	b.die()
	_ = b.server.Close()
}

// book works until it is killed, whether or not the caller still waits.
func (b *backend) book(life context.Context, w http.ResponseWriter, r *http.Request, delay time.Duration) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if b.token != "" && r.Header.Get("Authorization") != "Bearer "+b.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	b.mu.Lock()
	b.lines = append(b.lines,
		strings.Join([]string{key, r.Header.Get("Idempotency-Attempt"), r.Header.Get("Traceparent"), string(body)}, " "))
	b.working[key] = true
	b.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-life.Done():
		panic(http.ErrAbortHandler)
	}
	booking := fmt.Sprintf(`{"booking":%d}`, time.Now().UnixNano())
	b.mu.Lock()
	b.bookings[key] = booking
	delete(b.working, key)
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Set-Cookie", "session=secret")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, booking)
}

func (b *backend) find(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := r.PathValue("key")
	switch booking := b.bookings[key]; {
	case b.working[key]:
		w.WriteHeader(http.StatusConflict)
	case booking == "":
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, booking)
	}
}

// calls returns a line for each POST that came.
func (b *backend) calls() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.lines...)
}

// booked returns the last booking of a key.
func (b *backend) booked(key string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bookings[key]
}

func (b *backend) settings(redis string, more ...string) []string {
	return append([]string{
		"REDIS_URL=" + redis, "UPSTREAM_URL=http://" + b.address + "/book", "METRICS_FLUSH=50ms", "WAIT_TIMEOUT=30s",
		"LOCK_TTL=6s", "REDIS_TIMEOUT=1s", "SETTLE=3s",
	}, more...)
}
