// Package dashboard shows a storm being absorbed: one page, which a stream of server-sent events keeps current, and a
// page for each webhook. It shows what all replicas report (package replicas) and what Redis holds, and it changes one
// thing only: a person may have a webhook forgotten.
package dashboard

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/replicas"
)

// Options are the parts that a dashboard is made of.
type Options struct {
	Replicas *replicas.Replicas
	Store    *redis.Store
	Version  string
	Tenants  func() []string // names; none: there are no tenants
	Records  func(tenant string) (of command.Deployment, ok bool)
	Timeout  time.Duration // of one exchange with Redis
	Log      *slog.Logger
}

// Dashboard is a handler of the admin listener's private paths.
type Dashboard struct {
	Options
	mux *http.ServeMux

	slow     atomic.Pointer[slowly]
	watching atomic.Int64 // streams
	mu       sync.Mutex   // held while slow is read again
	read     time.Time    // when slow was read last
}

// New returns a dashboard.
func New(o Options) *Dashboard {
	d := &Dashboard{Options: o, mux: http.NewServeMux()}
	d.slow.Store(new(slowly))
	d.mux.HandleFunc("GET /feed", d.feed)
	d.mux.HandleFunc("GET /state", d.once)
	d.mux.HandleFunc("GET /webhook", d.find)
	d.mux.HandleFunc("POST /webhook", d.find)
	d.mux.HandleFunc("GET /webhook/{fingerprint}", d.webhook)
	d.mux.HandleFunc("POST /webhook/{fingerprint}/forget", d.forget)
	d.mux.Handle("GET /", files())
	return d
}

// ServeHTTP is part of http.Handler.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.mux.ServeHTTP(w, r) }

// slowEvery is how often the data in Redis is read while somebody looks, however many people look.
const slowEvery = 2 * time.Second

// refresh reads the data in Redis again if that is due. A request that comes meanwhile uses the data that was read
// before.
func (d *Dashboard) refresh(ctx context.Context) {
	if !d.mu.TryLock() {
		return
	}
	defer d.mu.Unlock()
	if time.Since(d.read) >= slowEvery {
		d.readSlowly(ctx)
		d.read = time.Now()
	}
}
