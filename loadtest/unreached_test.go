package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/loadtest/verdict"
)

func TestAVerdictThatCannotBeReachedIsAnError(t *testing.T) {
	replica, err := url.Parse(shared.Targets("")[0])
	if err != nil {
		t.Fatal(err)
	}
	honest := httputil.NewSingleHostReverseProxy(replica)
	const metrics = "cognigy:metrics"

	for name, c := range map[string]struct {
		before func(redis func(args ...string) string)                           // runs before the load
		midway func(server *redistest.Server, redis func(args ...string) string) // runs during the load
		want   string
	}{
		"another program's value stands there": {
			before: func(redis func(args ...string) string) { redis("SET", metrics, "x") },
			want:   "reading cognigy:metrics: WRONGTYPE",
		},
		"a counter is no number": {
			before: func(redis func(args ...string) string) { redis("HSET", metrics, "executed", "many") },
			want:   `cognigy:metrics, executed: strconv.ParseInt: parsing "many"`,
		},
		"nothing is counted there": {want: "nothing was counted: are REDIS_URL and KEY_PREFIX those of the replicas?"},
		"Redis goes away": {
			midway: func(server *redistest.Server, _ func(args ...string) string) { server.Kill() },
			want:   "reading cognigy:metrics",
		},
		"Redis loses its history": {
			before: func(redis func(args ...string) string) { redis("HSET", metrics, "history", "a", "executed", "5") },
			midway: func(_ *redistest.Server, redis func(args ...string) string) { redis("HSET", metrics, "history", "b") },
			want:   "Redis lost its history meanwhile",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t) // the replica counts in another one
			client := redistest.Client(t, server.Addr())
			redis := func(args ...string) string { return redistest.Do(t, client, args...) }
			if c.before != nil {
				c.before(redis)
			}
			var once sync.Once
			target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.midway != nil {
					once.Do(func() { c.midway(server, redis) })
				}
				honest.ServeHTTP(w, r)
			}))
			defer target.Close()
			printed, err := played(t, t.TempDir(), "storm", "--rate", "100", "--duration", "200ms", "--target", target.URL,
				"--redis-url", server.URL())
			if !errors.Is(err, verdict.ErrUnreached) || errors.Is(err, errViolated) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q\n%s", err, c.want, printed)
			}
		})
	}
}

func TestATargetWithoutItsRedisIsRefused(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	if _, err := played(t, t.TempDir(), "storm", "--target", shared.Targets("")[0]); err == nil ||
		!strings.Contains(err.Error(), "set REDIS_URL") {
		t.Error(err)
	}
	_, err := played(t, t.TempDir(), "storm", "--target", shared.Targets("")[0], "--redis-url", "redis://127.0.0.1:1")
	if !errors.Is(err, verdict.ErrUnreached) {
		t.Error(err)
	}
}
