package handler

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/sweeper"
	"github.com/oncegate/oncegate/internal/tlsfile"
)

// Config holds the settings of a gateway; docs/configuration.md lists them. Start from DefaultConfig.
type Config = config.Config

// Secret is the type of a setting that holds a secret. It is hidden wherever it is printed, logged or marshalled.
type Secret = config.Secret

// DefaultConfig returns the defaults. They name no Redis, so the store is embedded, for trying out.
func DefaultConfig() Config { return config.Default() }

// Tenant is one of the tenants that share a gateway, with the settings in force for it.
type Tenant = config.Tenant

// Choose returns the logic for a tenant's webhooks, and a function that ends it. That function is called when no
// execution uses the logic any more.
type Choose func(t *Tenant) (l logic.Logic, end func(), err error)

// Gateway is everything that serves webhooks: the connection to Redis, the gate before the logic, and the HTTP server
// before the gate.
type Gateway struct {
	config  *Config // as it was at the start; the door has the settings that may change without a restart
	reloads sync.Mutex
	log     *slog.Logger
	choose  Choose
	store   *redis.Store
	gate    *gate.Gate
	handler *Handler
	server  *Server
	sweeper *sweeper.Sweeper
	secured *tls.Config // nil: plain HTTP
	atEnd   func()      // nil: nothing is to be done
}

// Open connects to the Redis that c names and prepares everything that serves webhooks with the logic l, for all
// tenants. ctx bounds the start. The caller ends the gateway with Serve or Close.
func Open(ctx context.Context, c Config, l logic.Logic, log *slog.Logger) (*Gateway, error) {
	return OpenFor(ctx, c, func(*Tenant) (logic.Logic, func(), error) { return l, func() {}, nil }, log)
}

// OpenFor is Open with a logic for each tenant.
func OpenFor(ctx context.Context, c Config, choose Choose, log *slog.Logger) (*Gateway, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	settle := c.Execution.Settle
	if c.Redis.Embedded() {
		settle = 0 // no other process can have written to this store
	}
	options := gate.Options{
		Rules:   rules(&Tenant{Execution: c.Execution}, nil, nil),
		LockTTL: c.Execution.LockTTL, Settle: settle,
		JournalBytes: int(c.Execution.JournalBytes), JournalAge: c.Execution.JournalAge,
		Trail:       c.Trail.Keep,
		ReplicasAck: c.Redis.ReplicasAck, RedisTimeout: c.Redis.Timeout, RedisPatience: c.Redis.Patience,
		MetricsFlush: c.Upkeep.MetricsFlush,
		Report:       reports[c.Log.Executions], Replica: processName(), Log: log,
	}
	g := &Gateway{config: &c, log: log, choose: choose, gate: gate.New(options)}
	if c.HTTP.TLSCert != "" {
		serving, err := tlsfile.NewServing(c.HTTP.TLSCert, c.HTTP.TLSKey, lookAtFiles, log)
		if err != nil {
			return nil, fmt.Errorf("TLS for callers (TLS_CERT, TLS_KEY): %w", err)
		}
		g.secured = serving.Config()
	}
	var err error
	if g.store, err = redis.Open(ctx, c.Redis, g.gate.Invalidated, log); err != nil {
		return nil, err
	}
	if err := g.begin(ctx); err != nil {
		g.store.Close()
		return nil, err
	}
	return g, nil
}

// begin starts the gate of an open store, and the parts before and beside it.
func (g *Gateway) begin(ctx context.Context) error {
	c := g.config
	if c.Trail.Keep > 0 {
		if err := g.store.TryTrail(ctx); err != nil {
			return fmt.Errorf("the trail (TRAIL): redis at %s %w", g.store.Address, err)
		}
	}
	if err := g.gate.Start(ctx, g.store); err != nil {
		return err
	}
	tenants, err := g.tenants(c, nil)
	if err != nil {
		return errors.Join(err, g.gate.Close(ctx))
	}
	g.warn()
	g.handler = newHandler(g.gate, Options{
		MaxBodyBytes: int(c.HTTP.MaxBodyBytes), BodyMemory: int(c.HTTP.BodyMemory), Log: g.log,
	})
	g.handler.door.Store(newDoor(c.HTTP.Proxies(), tenants...))
	g.server = NewServer(g.handler, g.log)
	g.sweeper = sweeper.New(g.store.Client, sweeper.Options{
		Keys: g.store.Keys, Interval: c.Upkeep.SweepInterval, ResultTTL: c.Execution.ResultTTL,
		DoubtTTL:         c.Execution.DoubtTTL,
		ExecutionTimeout: c.Execution.Timeout, Tenants: g.limits, Log: g.log,
	})
	return nil
}

// Reload brings the settings of tenants into force, or those of a gateway without tenants, from the next webhook on. An
// execution keeps the settings under which it began, and a tenant that is gone is answered 404. Either all settings are
// accepted or none: an error says why none is, for example because a setting needs a restart.
func (g *Gateway) Reload(c Config) error {
	g.reloads.Lock()
	defer g.reloads.Unlock()
	err := c.Validate()
	if err == nil {
		err = g.reload(&c)
	}
	if err != nil {
		g.gate.CountOutside(nil, link.ReloadFailed)
	}
	return err
}

func (g *Gateway) reload(c *Config) error {
	changed, err := g.config.Restart(c)
	if err != nil {
		return err
	}
	if len(changed) > 0 {
		return fmt.Errorf("%s changed, which takes a restart", strings.Join(changed, ", "))
	}
	tenants, err := g.tenants(c, g.handler.door.Load())
	if err != nil {
		return err
	}
	g.handler.door.Store(newDoor(c.HTTP.Proxies(), tenants...))
	return nil
}

// ReloadFailed counts settings that could not be read.
func (g *Gateway) ReloadFailed() { g.gate.CountOutside(nil, link.ReloadFailed) }

// warn logs what a person should know about the settings.
func (g *Gateway) warn() {
	c := g.config
	if c.Execution.Settle == 0 && !g.store.Embedded {
		g.log.Warn("SETTLE IS 0: webhooks may execute again after a failover, a restart of Redis or FLUSHALL")
	}
	if c.HTTP.ShutdownTimeout < c.DrainNeeds() {
		g.log.Warn("A SHUTDOWN MAY CUT EXECUTIONS OFF, and the next delivery executes them again: set SHUTDOWN_TIMEOUT to "+
			"EXECUTION_TIMEOUT and twice REDIS_TIMEOUT, or more", "SHUTDOWN_TIMEOUT", c.HTTP.ShutdownTimeout,
			"at_least", c.DrainNeeds())
	}
	if g.store.Embedded {
		g.log.Warn("THE STORE IS EMBEDDED, for trying out: it serves this process alone and forgets all when it ends; " +
			"set REDIS_URL")
	}
}

var reports = map[config.Executions]gate.Report{
	config.ExecutionsUnusual: gate.ReportUnusual, config.ExecutionsAll: gate.ReportAll,
	config.ExecutionsNone: gate.ReportNone,
}

// lookAtFiles is how often files whose changes need no restart are checked for changes.
const lookAtFiles = 5 * time.Second

// processName returns "<host>/<process id>". It tells replicas apart in logs and records, even if several run on one
// host. In a container the host is the name of the pod.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + strconv.Itoa(os.Getpid())
}

// Drain makes /readyz answer 503 and closes each connection with its next answer, so that callers go to another
// replica. Webhooks are still served until the context of Serve ends, DRAIN_DELAY later.
func (g *Gateway) Drain() { g.handler.Drain() }

// Serve answers requests on a listener until ctx ends. Then it gives running executions SHUTDOWN_TIMEOUT to finish, and
// closes the gateway. Its error joins what failed while it served and what did not finish in time.
func (g *Gateway) Serve(ctx context.Context, listener net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	serving := make(chan error, 1)
	taken := g.take(listener)
	go func() { serving <- g.server.Serve(taken) }()
	sweeping := make(chan struct{})
	go func() {
		defer close(sweeping)
		g.sweeper.Run(ctx)
	}()
	g.greet(listener.Addr())

	var err error
	select {
	case err = <-serving:
		err = fmt.Errorf("serving %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	g.log.Info("shutting down", "at_most", g.config.HTTP.ShutdownTimeout)
	stop()
	g.handler.Drain()
	last, cancel := context.WithTimeout(context.Background(), g.config.HTTP.ShutdownTimeout)
	defer cancel()
	err = errors.Join(err, g.unfinished(g.server.ShutdownWithContext(last), g.gate.Close(last)))
	<-sweeping
	if g.atEnd != nil {
		g.atEnd()
	}
	g.store.Close()
	if t := g.handler.tracer; t != nil {
		t.Close(last)
	}
	return err
}

// take bounds the connections of a listener. It warns if that bound is below MAX_WAITERS: then fewer callers can be
// connected than may wait.
func (g *Gateway) take(l net.Listener) net.Listener {
	most := places(g.config.HTTP.MaxConnections, g.executions())
	if waiters := g.waiters(); most > 0 && most < waiters {
		all, _ := descriptors()
		g.log.Warn("FEWER CALLERS CAN BE CONNECTED THAN MAY WAIT (MAX_WAITERS): raise the limit of descriptors (ulimit -n, "+
			"LimitNOFILE) or MAX_CONNECTIONS, or lower MAX_WAITERS and MAX_EXECUTIONS", "connections", most,
			"MAX_WAITERS", waiters, "MAX_CONNECTIONS", g.config.HTTP.MaxConnections, "descriptors", all)
	}
	taken := &listener{
		Listener: l, most: most, open: g.server.GetOpenConnectionsCount, plain: g.secured == nil, log: g.log,
	}
	if g.secured == nil {
		return taken
	}
	return tls.NewListener(taken, g.secured)
}

// unfinished returns an error that says what the server and the gate did not end in time, or nil.
func (g *Gateway) unfinished(server, gate error) error {
	switch {
	case gate != nil && errors.Is(server, context.DeadlineExceeded): // they were open because of what gate reports
		server = nil
	case errors.Is(server, context.DeadlineExceeded):
		server = errors.New("connections were still open and were cut")
	}
	if err := errors.Join(server, gate); err != nil {
		return fmt.Errorf("shutdown within SHUTDOWN_TIMEOUT (%v): %w", g.config.HTTP.ShutdownTimeout, err)
	}
	return nil
}

// Close closes a gateway that was opened and never served.
func (g *Gateway) Close() error {
	err := g.gate.Close(context.Background())
	g.store.Close()
	return err
}

// greet logs the address, and warns if strangers can reach it without a key.
func (g *Gateway) greet(addr net.Addr) {
	g.log.Info("listening", "address", addr.String(), "redis", g.store.Address)
	at, ok := addr.(*net.TCPAddr)
	all := g.config.All()
	if len(g.config.Tenants) == 0 && all[0].Open && (!ok || !at.IP.IsLoopback()) {
		g.log.Warn("ANYBODY WHO REACHES THIS ADDRESS CAN SEND WEBHOOKS AND READ RESULTS: set INBOUND_API_KEYS, or listen "+
			"on loopback",
			"address", addr.String())
	}
}
