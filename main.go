// Oncegate stands in front of a webhook's business logic: it runs once, and every duplicate gets the same answer.
//
// main reads the configuration, builds the parts, and runs until a signal. README.md shows how to use it,
// docs/design.md how it works.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/sweeper"
)

// version is set by the linker (-ldflags "-X main.version=…").
var version = "development"

func main() {
	line, err := config.Parse(os.Args[1:], os.Getenv, version)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	// The first signal ends ctx; from then on the next one ends the process, as it would without us.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	log := newLog(line.Log)
	if line.Command != "serve" {
		if err := run(ctx, line, log); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// A signal before it listens ends it as well as any other: there is nothing to finish.
	if err := serve(ctx, &line.Config, log); err != nil && !errors.Is(err, context.Canceled) {
		log.Error("oncegate stops", "error", err)
		os.Exit(1)
	}
	log.Info("bye")
}

func newLog(c config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// run does one of the commands that look into a gateway's Redis.
func run(ctx context.Context, line *config.CommandLine, log *slog.Logger) error {
	if line.Redis.Embedded() {
		return fmt.Errorf("%s needs the gateway's Redis: set REDIS_URL (an embedded store can't be reached from outside)", line.Command)
	}
	store, err := redis.Open(ctx, line.Redis, nil, log)
	if err != nil {
		return err
	}
	defer store.Close()
	keys := redis.NewKeys(line.Redis.KeyPrefix)
	switch line.Command {
	case "stats":
		return command.Stats(ctx, store.Client, keys, os.Stdout, line.Stats.JSON)
	case "inspect":
		return command.Inspect(ctx, store.Client, keys, command.Webhook(line.Inspect.Identity), os.Stdout)
	default:
		of := command.Gateway{Settle: line.Execution.Settle, LockTTL: line.Execution.LockTTL, ResultTTL: line.Execution.ResultTTL}
		return command.Forget(ctx, store.Client, keys, command.Webhook(line.Forget.Identity), line.Forget.Force, of, os.Stdout)
	}
}

// serve runs the gateway until ctx ends, then lets what runs finish.
func serve(ctx context.Context, c *config.Config, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	settle := c.Execution.Settle
	if c.Redis.Embedded() {
		settle = 0 // its only history is this process'
	}
	keys := redis.NewKeys(c.Redis.KeyPrefix)
	g := gate.New(gate.Options{
		Keys:    keys,
		LockTTL: c.Execution.LockTTL, ResultTTL: c.Execution.ResultTTL, WaitTimeout: c.Execution.WaitTimeout,
		ExecutionTimeout: c.Execution.Timeout, MaxResultBytes: int(c.Execution.MaxResultBytes), Settle: settle,
		RedisTimeout: c.Redis.Timeout, RedisPatience: c.Redis.Patience, MetricsFlush: c.Upkeep.MetricsFlush,
		Log: log,
	})
	store, err := redis.Open(ctx, c.Redis, g.Invalidated, log)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := g.Start(ctx, store.Client, store.Tracking); err != nil {
		return err
	}

	listener, err := net.Listen("tcp", c.HTTP.Listen)
	if err != nil {
		return fmt.Errorf("LISTEN %s: %w", c.HTTP.Listen, err)
	}
	h := handler.New(g, handler.Echo{Delay: c.Echo.Delay}, c.HTTP.ProcessingStatus, log)
	server := handler.NewServer(h, int(c.HTTP.MaxBodyBytes), log)
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }()

	sweeping := make(chan struct{})
	go func() {
		defer close(sweeping)
		sweeper.New(store.Client, sweeper.Options{
			Keys: keys, Interval: c.Upkeep.SweepInterval, ResultTTL: c.Execution.ResultTTL,
			ExecutionTimeout: c.Execution.Timeout, Log: log,
		}).Run(ctx)
	}()

	greet(listener.Addr(), store, log)
	select {
	case err = <-serving:
		err = fmt.Errorf("serving %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}

	log.Info("shutting down", "at_most", c.HTTP.ShutdownTimeout)
	stop()
	h.Drain()
	last, cancel := context.WithTimeout(context.Background(), c.HTTP.ShutdownTimeout)
	defer cancel()
	err = errors.Join(err, server.ShutdownWithContext(last), g.Close(last))
	<-sweeping
	return err
}

// greet says where we listen and what to try.
func greet(addr net.Addr, store *redis.Store, log *slog.Logger) {
	log.Info("listening", "address", addr.String(), "redis", store.Address, "version", version)
	if !store.Embedded {
		return
	}
	log.Warn("THE STORE IS EMBEDDED, for trying out: it serves this process alone and forgets all when it ends; set REDIS_URL")
	_, port, _ := net.SplitHostPort(addr.String())
	fmt.Printf(`Try it, twice:
  curl -i localhost:%s/webhook/cognigy -H 'Content-Type: application/json' -d '{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"variables":{"seats":2}}'
`, port)
}
