package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/internal/sweeper"
)

// Config has a gateway's settings; docs/configuration.md lists them. DefaultConfig is where to begin.
type Config = config.Config

// Secret is the type of settings that hold one: it is not printed.
type Secret = config.Secret

// DefaultConfig returns the defaults. Without a Redis named in it the store is embedded, for trying out.
func DefaultConfig() Config { return config.Default() }

// Gateway is all that runs for a webhook: its Redis, the gate before the logic, and HTTP before the gate.
type Gateway struct {
	config  *Config
	log     *slog.Logger
	store   *redis.Store
	gate    *gate.Gate
	handler *Handler
	server  *fasthttp.Server
	sweeper *sweeper.Sweeper
}

// Open connects to the Redis of c and makes everything ready to serve webhooks with the logic l. ctx bounds the start.
func Open(ctx context.Context, c Config, l logic.Logic, log *slog.Logger) (*Gateway, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	settle := c.Execution.Settle
	if c.Redis.Embedded() {
		settle = 0 // its only history is this process'
	}
	options := gate.Options{
		LockTTL: c.Execution.LockTTL, ResultTTL: c.Execution.ResultTTL, RejectedTTL: c.Execution.RejectedTTL,
		DoubtTTL: c.Execution.DoubtTTL, StopInDoubt: c.Execution.InDoubt == config.InDoubtStop,
		WaitTimeout: c.Execution.WaitTimeout, ExecutionTimeout: c.Execution.Timeout,
		MaxResultBytes: int(c.Execution.MaxResultBytes), RejectMismatch: c.Execution.Mismatch == config.MismatchReject,
		Settle:       settle,
		JournalBytes: int(c.Execution.JournalBytes), JournalAge: c.Execution.JournalAge,
		MaxAttempts: c.Execution.MaxAttempts, MaxExecutions: c.Execution.MaxExecutions, MaxWaiters: c.Execution.MaxWaiters,
		ReplicasAck: c.Redis.ReplicasAck, RedisTimeout: c.Redis.Timeout, RedisPatience: c.Redis.Patience,
		MetricsFlush: c.Upkeep.MetricsFlush,
		Report:       reports[c.Log.Executions], Replica: processName(), Log: log,
	}
	if asker, ok := l.(logic.Asker); ok {
		options.Asks = asker.Asks()
	}
	if options.StopInDoubt && !options.Asks {
		log.Warn("IN_DOUBT=stop, and nobody can be asked what became of an attempt in doubt: " +
			"each waits for a person (oncegate doubtful); set UPSTREAM_STATUS_URL if the backend has one")
	}
	if admitter, ok := l.(logic.Admitter); ok {
		options.Admit = admitter.Admit
	}
	var err error
	if options.Seal, err = seal.Load(c.Execution.ResultKeyFile, log); err != nil {
		return nil, err
	}
	g := &Gateway{config: &c, log: log, gate: gate.New(options)}
	if g.store, err = redis.Open(ctx, c.Redis, g.gate.Invalidated, log); err != nil {
		return nil, err
	}
	if err := g.gate.Start(ctx, g.store); err != nil {
		g.store.Close()
		return nil, err
	}
	if c.Execution.Settle == 0 && !g.store.Embedded {
		log.Warn("SETTLE IS 0: webhooks may execute again after a failover, a restart of Redis or FLUSHALL")
	}
	if c.HTTP.ShutdownTimeout < c.DrainNeeds() {
		log.Warn("A SHUTDOWN MAY CUT EXECUTIONS OFF, and the next delivery executes them again: set SHUTDOWN_TIMEOUT to "+
			"EXECUTION_TIMEOUT and twice REDIS_TIMEOUT, or more", "SHUTDOWN_TIMEOUT", c.HTTP.ShutdownTimeout,
			"at_least", c.DrainNeeds())
	}
	if g.store.Embedded {
		log.Warn("THE STORE IS EMBEDDED, for trying out: it serves this process alone and forgets all when it ends; " +
			"set REDIS_URL")
	}
	if gauger, ok := l.(logic.Gauger); ok {
		gauger.Gauges(g.gate.Gauge)
	}
	g.handler = New(g.gate, l, Options{
		ProcessingStatus: c.HTTP.ProcessingStatus, Passthrough: c.HTTP.ResponseMode == config.Passthrough,
		APIKeys: c.HTTP.APIKeys(), ForwardHeaders: c.HTTP.Forwarded(), Seal: options.Seal,
		MaxBodyBytes: int(c.HTTP.MaxBodyBytes), BodyMemory: int(c.HTTP.BodyMemory), Log: log,
	})
	g.server = NewServer(g.handler, log)
	g.sweeper = sweeper.New(g.store.Client, sweeper.Options{
		Keys: g.store.Keys, Interval: c.Upkeep.SweepInterval, ResultTTL: c.Execution.ResultTTL,
		DoubtTTL:         c.Execution.DoubtTTL,
		ExecutionTimeout: c.Execution.Timeout, Log: log,
	})
	return g, nil
}

var reports = map[config.Executions]gate.Report{
	config.ExecutionsUnusual: gate.ReportUnusual, config.ExecutionsAll: gate.ReportAll,
	config.ExecutionsNone: gate.ReportNone,
}

// processName tells the replicas apart in logs and records, also where several run on one host; in a container its host
// is the pod.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + strconv.Itoa(os.Getpid())
}

// Drain makes /readyz say no, and every answer close its connection: callers are to go elsewhere. They are served until
// the context of Serve ends, some seconds later (DRAIN_DELAY).
func (g *Gateway) Drain() { g.handler.Drain() }

// Serve answers on a listener until ctx ends, lets what runs finish for SHUTDOWN_TIMEOUT, and closes the gateway. Its
// error is what went wrong while it served, and what could not be finished.
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
	g.store.Close()
	return err
}

// take bounds the connections of a listener, and warns where fewer callers can be connected than may wait.
func (g *Gateway) take(l net.Listener) net.Listener {
	most := places(g.config.HTTP.MaxConnections, g.config.Execution.MaxExecutions)
	if waiters := g.config.Execution.MaxWaiters; most > 0 && most < waiters {
		all, _ := descriptors()
		g.log.Warn("FEWER CALLERS CAN BE CONNECTED THAN MAY WAIT (MAX_WAITERS): raise the limit of descriptors (ulimit -n, "+
			"LimitNOFILE) or MAX_CONNECTIONS, or lower MAX_WAITERS and MAX_EXECUTIONS", "connections", most,
			"MAX_WAITERS", waiters, "MAX_CONNECTIONS", g.config.HTTP.MaxConnections, "descriptors", all)
	}
	return &listener{Listener: l, most: most, open: g.server.GetOpenConnectionsCount, log: g.log}
}

// unfinished tells what of the server and of the gate did not end in time.
func (g *Gateway) unfinished(server, gate error) error {
	switch {
	case gate != nil && errors.Is(server, context.DeadlineExceeded): // connections waited for what the gate tells of
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

// greet says where it listens, and warns where strangers may reach it.
func (g *Gateway) greet(addr net.Addr) {
	g.log.Info("listening", "address", addr.String(), "redis", g.store.Address)
	at, ok := addr.(*net.TCPAddr)
	if len(g.handler.APIKeys) == 0 && (!ok || !at.IP.IsLoopback()) {
		g.log.Warn("ANYBODY WHO REACHES THIS ADDRESS CAN SEND WEBHOOKS AND READ RESULTS: set INBOUND_API_KEYS, or listen "+
			"on loopback",
			"address", addr.String())
	}
}
