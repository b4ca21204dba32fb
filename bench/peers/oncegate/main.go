// Oncegate runs the gateway without one of the features that make it fast, to show what that feature brings. WITHOUT
// names it: grouping (then each operation is a script call of its own) or cache (then every duplicate costs a round
// trip).
package main

import (
	"context"
	"log"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/redis"
)

func main() {
	if err := run(os.Getenv("WITHOUT")); err != nil {
		log.Fatal(err)
	}
}

func run(without string) error {
	delay, err := time.ParseDuration(os.Getenv("ECHO_DELAY"))
	if err != nil {
		return err
	}
	c := handler.DefaultConfig()
	c.Redis.URL = handler.Secret(os.Getenv("REDIS_URL"))
	quiet := slog.New(slog.DiscardHandler)
	e := c.Execution
	g := gate.New(gate.Options{
		Rules: gate.Rules{
			ResultTTL: e.ResultTTL, RejectedTTL: e.RejectedTTL, DoubtTTL: e.DoubtTTL, WaitTimeout: e.WaitTimeout,
			ExecutionTimeout: e.Timeout, MaxResultBytes: int(e.MaxResultBytes), MaxExecutions: e.MaxExecutions,
			MaxWaiters: e.MaxWaiters,
		},
		LockTTL: e.LockTTL, Settle: e.Settle, JournalBytes: int(e.JournalBytes), JournalAge: e.JournalAge,
		RedisTimeout: c.Redis.Timeout, RedisPatience: c.Redis.Patience, MetricsFlush: c.Upkeep.MetricsFlush,
		Ungrouped: without == "grouping", Log: quiet,
	})
	ctx := context.Background()
	invalidated := g.Invalidated
	if without == "cache" {
		invalidated = nil
	}
	store, err := redis.Open(ctx, c.Redis, invalidated, quiet)
	if err != nil {
		return err
	}
	if err := g.Start(ctx, store); err != nil {
		return err
	}
	h := handler.New(g, logic.Echo{Delay: delay}, handler.Options{
		ProcessingStatus: c.HTTP.ProcessingStatus, ForwardHeaders: c.HTTP.Forwarded(),
		MaxBodyBytes: int(c.HTTP.MaxBodyBytes), BodyMemory: int(c.HTTP.BodyMemory), Log: quiet,
	})
	l, err := net.Listen("tcp", os.Getenv("LISTEN"))
	if err != nil {
		return err
	}
	return handler.NewServer(h, quiet).Serve(l)
}
