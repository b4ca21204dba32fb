package faults_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/redistest"
)

// fault is a kind of fault that the nemesis can cause.
type fault struct {
	kind   string
	part   part
	effect effect
	one    bool // it hits one replica; false: all of them
	lasts  func(r *rand.Rand) time.Duration

	begin func(w *world, replica int)
	end   func(w *world, replica int) // nil: it ends as soon as it has begun
}

// part is the part of the system that a fault hits. Each part has at most one fault at a time.
type part int

const (
	process part = iota
	redis
	network
	logic
)

// between draws a length of time from a range of milliseconds.
func between(low, high int) func(r *rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(low+r.IntN(high-low)) * time.Millisecond }
}

// about returns the usual length of a fault whose real length depends on the machine: the schedule allows that much
// time.
func about(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

func atOnce(*rand.Rand) time.Duration { return 0 }

// faultsOfAll returns the faults of replicas and the backend, which exist in every world.
func faultsOfAll() []fault {
	feels := func(m mood) func(w *world, _ int) { return func(w *world, _ int) { w.backend.mood.Store(int64(m)) } }
	return []fault{
		{kind: "replica killed", part: process, effect: dead, one: true, lasts: between(100, 2500), begin: killReplica,
			end: reviveReplica},
		{kind: "replica restarted", part: process, effect: dead, one: true, lasts: between(10, 1000),
			begin: (*world).terminate, end: restartReplica},
		{kind: pausedPastLease, part: process, effect: paused, one: true, lasts: between(3200, 5500), begin: (*world).stop,
			end: (*world).goOn},
		{kind: "replica paused", part: process, effect: paused, one: true, lasts: between(100, 900), begin: (*world).stop,
			end: (*world).goOn},
		{kind: "logic fails", part: logic, lasts: between(300, 2000), begin: feels(sick), end: feels(well)},
		{kind: "logic slow", part: logic, lasts: between(1000, 3000), begin: feels(slow), end: feels(well)},
		{kind: "logic hangs up", part: logic, lasts: between(300, 1500), begin: feels(drops), end: feels(well)},
	}
}

const pausedPastLease = "replica paused past its lease"

// allLive leaves out the faults that keep a replica from putting back what it knows while Redis settles.
func allLive(faults []fault) []fault {
	return slices.DeleteFunc(faults, func(f fault) bool { return f.effect == dead || f.kind == pausedPastLease })
}

func killReplica(w *world, replica int) { w.replicas[replica].kill() }

func restartReplica(w *world, replica int) {
	w.replicas[replica].wait()
	reviveReplica(w, replica)
}

func reviveReplica(w *world, replica int) {
	if err := w.replicas[replica].revive(); err != nil {
		w.t.Error(err)
	}
}

// flushAll takes no time: it keeps no replica from Redis.
const flushAll = "FLUSHALL"

// faultsOfServers returns the faults of the Redis servers, which exist in every world.
func faultsOfServers() []fault {
	return []fault{
		{kind: "SCRIPT FLUSH", part: redis, lasts: atOnce, begin: func(w *world, _ int) { w.tellServers("SCRIPT", "FLUSH") }},
		{kind: "connections killed", part: redis, lasts: atOnce,
			begin: func(w *world, _ int) { w.tellServers("CLIENT", "KILL", "TYPE", "normal") }},
		{kind: "SCAN storm", part: redis, lasts: between(500, 2000), begin: scan, end: endScan},
		{kind: "Redis full", part: redis, effect: apart, lasts: between(300, 4000),
			begin: func(w *world, _ int) { w.tellServers("CONFIG", "SET", "maxmemory", "1") },
			end:   func(w *world, _ int) { w.tellServers("CONFIG", "SET", "maxmemory", "0") }},
		{kind: flushAll, part: redis, effect: forgetful, lasts: atOnce,
			begin: func(w *world, _ int) { w.tellServers("FLUSHALL") }},
	}
}

func (w *world) tellServers(words ...string) {
	for _, s := range w.store.servers() {
		command(w, s, words...)
	}
}

// command runs a command on one server once it has loaded its data. If the command kills its own connection, that is
// not an error.
func command(w *world, s *redistest.Server, words ...string) {
	c := redisClient(w, s)
	defer c.Close()
	for {
		err := c.Do(w.t.Context(), c.B().Arbitrary(words...).Build()).Error()
		refused, ok := rueidis.IsRedisErr(err)
		switch {
		case !ok || refused.IsNil():
			return
		case !strings.HasPrefix(refused.Error(), "LOADING"):
			w.t.Fatalf("%s: %v", strings.Join(words, " "), err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func redisClient(w *world, s *redistest.Server) rueidis.Client {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}, ForceSingleClient: true,
		DisableCache: true, DisableRetry: true})
	if err != nil {
		w.t.Fatalf("client of %s: %v", s.Addr(), err)
	}
	return c
}

// scan runs four walks over all records of all servers at once, again and again, until endScan.
func scan(w *world, _ int) {
	ctx, stop := context.WithCancel(w.t.Context())
	w.stopScans = stop
	for _, s := range w.store.servers() {
		for range 4 {
			c := redisClient(w, s)
			w.scans.Go(func() {
				defer c.Close()
				for at := uint64(0); ctx.Err() == nil; {
					// A walk that is cut off begins again.
					step, _ := c.Do(ctx, c.B().Scan().Cursor(at).Match("*:fp:*").Count(1000).Build()).AsScanEntry()
					at = step.Cursor
				}
			})
		}
	}
}

func endScan(w *world, _ int) {
	w.stopScans()
	w.scans.Wait()
}
