package main

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/redistest"
)

func TestTheCountersOfAllBucketsOfAClusterAreJudged(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	c := handler.DefaultConfig()
	c.Redis.URL, c.Execution.Settle, c.Upkeep.MetricsFlush = handler.Secret(cluster.URL()), 0, flush
	gateway, err := handler.Open(t.Context(), c, logic.Echo{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- gateway.Serve(ctx, listener) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	target := "http://" + listener.Addr().String()
	printed, err := played(t, t.TempDir(), "first-time", "--rate", "200", "--duration", "1s", "--target", target,
		"--redis-url", cluster.URL())
	if err != nil || !strings.Contains(printed, "held      executions  200 for 200 fingerprints") {
		t.Errorf("%v\n%s", err, printed)
	}
}
