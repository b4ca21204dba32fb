// Package watch puts together what a person, or Prometheus, sees of a running gateway: the metrics, what its replicas
// report about each other, the dashboard, and the listener that serves them. It is above the handler, and no webhook
// passes through it.
package watch

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/admin"
	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/dashboard"
	"github.com/oncegate/oncegate/internal/metrics"
	"github.com/oncegate/oncegate/internal/replicas"
)

// Gateway is the gateway that is watched.
type Gateway struct {
	Config   *config.Config
	Watch    handler.Watch
	Backends *Backends
	Address  net.Addr // where it receives webhooks
	Version  string
}

// Watchers are the parts that run beside a gateway until Close.
type Watchers struct {
	running sync.WaitGroup
	stop    context.CancelFunc

	// URL is the dashboard's; "" if there is none.
	URL string
}

// Open opens the admin listener, if the settings want one, and serves it.
func Open(g Gateway, log *slog.Logger) (*Watchers, error) {
	c, store := g.Config, g.Watch.Store
	g.Backends.inForce = func(tenant string) bool {
		_, ok := g.Watch.Tenant(tenant)
		return ok
	}
	o := observer{Watch: g.Watch, backends: g.Backends}
	all := replicas.New(replicas.Options{
		Store: store, Observe: o.look, Name: g.Watch.Replica,
		Address: g.Address.String(), Version: g.Version, Ready: g.Watch.Ready, Timeout: c.Redis.Timeout, Log: log,
	})
	page := dashboard.New(dashboard.Options{
		Replicas: all, Store: store, Version: g.Version, Timeout: c.Redis.Timeout, Log: log, Tenants: g.Watch.Tenants,
		Records: func(tenant string) (command.Deployment, bool) {
			of, ok := g.Watch.Tenant(tenant)
			return command.NewDeployment(&of, c, store), ok
		},
	})
	listener, err := admin.Open(c.Admin, admin.Pages{
		Metrics: metrics.Page(metrics.Sources{
			Gate: g.Watch.Gate, Store: store, Took: g.Watch.Took, Backends: g.Backends.Snapshots, Version: g.Version,
			Timeout: c.Redis.Timeout, Log: log,
		}),
		Ready: g.Watch.Ready, Private: http.Handler(page),
	}, log)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &Watchers{stop: stop}
	if c.Admin.Listen != config.AdminOff { // other replicas show this one, even if its own listener found no address
		g.Watch.Gate.Hot().Watch(true)
		w.running.Go(func() {
			all.Run(ctx)
			g.Watch.Gate.Hot().Watch(false)
		})
	}
	if listener != nil {
		w.URL = "http://" + listener.Address().String() + "/"
		w.running.Go(func() { listener.Serve(ctx) })
	}
	return w, nil
}

// Close ends all watchers.
func (w *Watchers) Close() {
	w.stop()
	w.running.Wait()
}
