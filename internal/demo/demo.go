// Package demo plays a storm for people who want to see one: a gateway on its embedded store, before a slow backend,
// with callers that repeat themselves, and the dashboard to watch it on. It needs nothing that is not in this program.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/upstream"
	"github.com/oncegate/oncegate/internal/watch"
)

// Run plays until ctx ends. c has the settings that a person gave; Run sets those that make it a demo. open says that
// the dashboard is to be shown in a browser, if there is one.
func Run(ctx context.Context, c config.Config, version string, open bool, out io.Writer, log *slog.Logger) error {
	backend, err := startBackend()
	if err != nil {
		return err
	}
	defer backend.close()
	c.Redis = config.Redis{KeyPrefix: c.Redis.KeyPrefix, Buckets: c.Redis.Buckets, Timeout: c.Redis.Timeout,
		Retries: c.Redis.Retries, Patience: c.Redis.Patience}
	c.Execution.Timeout, c.Execution.MaxExecutions, c.Execution.MaxWaiters = 2*takes, 500, 2000
	c.HTTP.Listen, c.HTTP.InboundAPIKeys, c.HTTP.ShutdownTimeout = "127.0.0.1:0", "", 2*takes+2*c.Redis.Timeout
	c.Upstream = config.Upstream{URL: backend.url, KeyHeader: "Idempotency-Key", BreakerFailures: 20,
		BreakerPause: 5 * time.Second, IdleTimeout: time.Second, KeyFormat: config.KeyHex}
	c.Upkeep.MetricsFlush, c.Trail.Keep = 200*time.Millisecond, max(c.Trail.Keep, 10_000)
	if c.Admin.Listen == "" {
		c.Admin.Listen = freeOr(config.DefaultAdminListen)
	}
	logic, err := upstream.New(upstream.Options{
		URL: c.Upstream.URL, MaxResultBytes: int(c.Execution.MaxResultBytes), BreakerFailures: c.Upstream.BreakerFailures,
		BreakerPause: c.Upstream.BreakerPause, IdleTimeout: c.Upstream.IdleTimeout, Log: log,
	})
	if err != nil {
		return err
	}
	defer logic.Close()
	backends := new(watch.Backends)
	backends.Add("", logic)
	gateway, err := handler.Open(ctx, c, logic, log)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.HTTP.Listen)
	if err != nil {
		return errors.Join(err, gateway.Close())
	}
	watchers, err := watch.Open(watch.Gateway{
		Config: &c, Watch: gateway.Watch(), Backends: backends, Address: listener.Addr(), Version: version,
	}, log)
	if err != nil {
		return errors.Join(err, listener.Close(), gateway.Close())
	}
	gateway.AtEnd(watchers.Close)

	url := "http://" + listener.Addr().String() + "/webhook/cognigy"
	_, _ = fmt.Fprintf(out, `
Watch a storm being absorbed:  %s

A backend that takes two seconds a booking, and flows that send each webhook again and again:
above the line is what arrives, below it what the backend has to do.
Send one yourself, as often as you like:
  curl -i %s -H 'Content-Type: application/json' \
    -d '{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"variables":{"seats":2}}'
Ctrl-C ends it.
`, watchers.URL, url)
	if open {
		browse(watchers.URL)
	}
	var callers sync.WaitGroup
	calling, stop := context.WithCancel(ctx)
	callers.Go(func() { storm(calling, url) })
	defer callers.Wait()
	defer stop()
	return gateway.Serve(ctx, listener)
}

// freeOr returns an address if nobody listens there, otherwise one with any free port.
func freeOr(address string) string {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = l.Close()
	return address
}

// browse shows a page in the person's browser, if there is a desktop with one.
func browse(url string) {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	if show := exec.Command(name, args...); show.Start() == nil {
		go func() { _ = show.Wait() }()
	}
}
