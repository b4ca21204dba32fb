package gate_test

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func open(t *testing.T, url string, o gate.Options) (*gate.Gate, *redis.Store) {
	t.Helper()
	o.Log = quiet
	g := gate.New(o)
	store, err := redis.Open(t.Context(), config.Redis{URL: config.Secret(url), KeyPrefix: "cognigy",
		Timeout: o.RedisTimeout}, g.Invalidated, quiet)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return g, store
}

func TestTheStartWaitsUntilRedisHasSettled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := options()
	o.Settle = 3 * time.Second
	g, store := open(t, server.URL(), o)
	defer store.Close()
	start := time.Now()
	if err := g.Start(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < o.Settle {
		t.Errorf("ready after %v", took)
	}
	_ = g.Close(t.Context())

	next, again := open(t, server.URL(), o)
	defer again.Close()
	start = time.Now()
	if err := next.Start(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took >= o.Settle {
		t.Errorf("a second replica waits %v for a history that is known", took)
	}
	_ = next.Close(t.Context())
}

func TestTheStartOutlastsARedisThatIsSilentForAMoment(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := options()
	o.RedisTimeout, o.RedisPatience = 200*time.Millisecond, time.Minute
	g, store := open(t, server.URL(), o)
	defer store.Close()
	redistest.Do(t, redistest.Client(t, server.Addr()), "CLIENT", "PAUSE", "1500", "ALL")
	if err := g.Start(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	_ = g.Close(t.Context())

	o.RedisPatience = 0
	g, store = open(t, server.URL(), o)
	defer store.Close()
	redistest.Do(t, redistest.Client(t, server.Addr()), "CLIENT", "PAUSE", "60000", "ALL")
	if err := g.Start(t.Context(), store); err == nil {
		t.Error("it starts on a redis that stays silent")
	}
}

func TestAStartIsRefusedWhereScriptsMayNotAskForTheHistory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := redistest.Client(t, server.Addr())
	redistest.Do(t, admin, "ACL", "SETUSER", "gate", "on", ">secret", "~*", "&*", "+@all", "-info")
	url := strings.Replace(server.URL(), "redis://", "redis://gate:secret@", 1)
	o := options()
	o.Settle = time.Second
	g, store := open(t, url, o)
	defer store.Close()
	err := g.Start(t.Context(), store)
	if err == nil || !strings.Contains(err.Error(), "SETTLE=0") {
		t.Errorf("start says %v", err)
	}
	o.Settle = 0 // "this is known"
	g, store = open(t, url, o)
	defer store.Close()
	if err := g.Start(t.Context(), store); err != nil {
		t.Errorf("with settling off: %v", err)
	}
	_ = g.Close(t.Context())
}

func TestAClosedGateLeavesNoGoroutine(t *testing.T) {
	server := redistest.Start(t)
	before := runtime.NumGoroutine()
	for range 3 {
		h := &testbed{TB: t, server: server, url: server.URL()}
		g, store := open(t, server.URL(), options())
		if err := g.Start(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		r := &replica{Gate: g, testbed: h}
		for n := range 20 {
			r.send(n)
			r.send(n)
		}
		if err := g.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		store.Close()
	}
	for deadline := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, there were %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
