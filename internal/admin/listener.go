// Package admin is the listener for people and programs that watch a gateway: /metrics, health, and the dashboard. No
// webhook passes through it. It opens a port of its own, on loopback unless a person says otherwise (guard.go decides
// who may look).
package admin

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/oncegate/oncegate/internal/config"
)

// Bounds on the cost of requests from strangers.
const (
	maxConnections = 256
	maxHeaderBytes = 16 << 10
	readTimeout    = 10 * time.Second // for a whole request
	idleTimeout    = 2 * time.Minute
	closeTimeout   = 2 * time.Second
)

// Pages are the pages that the listener serves.
type Pages struct {
	Metrics http.Handler // open to all who reach it
	Ready   func() error // nil: webhooks are served
	Private http.Handler // the dashboard: only for those who may look
}

// Listener serves pages.
type Listener struct {
	listener net.Listener
	server   *http.Server
	log      *slog.Logger
}

// Open listens at the address in the settings. It returns nil without an error if they say off, or if they say nothing
// and another program is at DefaultAdminListen.
func Open(c config.Admin, pages Pages, log *slog.Logger) (*Listener, error) {
	address, given := c.Address()
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	switch {
	case err != nil && given:
		return nil, fmt.Errorf("ADMIN_LISTEN %s: %w", address, err)
	case err != nil:
		log.Warn("no dashboard and no /metrics: another program listens at the default address; "+
			"set ADMIN_LISTEN to another one, or to off", "address", address, "error", err)
		return nil, nil
	}
	l := &Listener{listener: netutil.LimitListener(listener, maxConnections), log: log}
	l.server = &http.Server{
		Handler: handler(c, pages), ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return l, nil
}

// Address returns the address that it listens at.
func (l *Listener) Address() net.Addr { return l.listener.Addr() }

// Serve answers until ctx ends.
func (l *Listener) Serve(ctx context.Context) {
	l.log.Info("dashboard and metrics", "url", "http://"+l.Address().String()+"/")
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if l.server.Shutdown(last) != nil {
			_ = l.server.Close() // a watcher's stream does not end by itself
		}
	})
	defer stop()
	if err := l.server.Serve(l.listener); !errors.Is(err, http.ErrServerClosed) {
		l.log.Error("dashboard and metrics ended", "error", err)
	}
}

//go:embed login.css icon.svg
var looks embed.FS

func handler(c config.Admin, pages Pages) http.Handler {
	g := &guard{token: string(c.Token), names: c.Names(), cross: http.NewCrossOriginProtection(), now: time.Now}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", pages.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, `alive`) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if pages.Ready() != nil {
			say(w, http.StatusServiceUnavailable, `unavailable`)
			return
		}
		say(w, http.StatusOK, `ready`)
	})
	mux.HandleFunc("GET "+loginPath, g.login)
	mux.HandleFunc("POST "+loginPath, g.login)
	mux.Handle("GET /login.css", http.FileServerFS(looks))
	mux.Handle("GET /icon.svg", http.FileServerFS(looks))
	mux.Handle("/", g.admit(pages.Private))
	return g.protect(mux)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"status":%q}`, text)
}
