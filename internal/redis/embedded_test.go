package redis_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

func TestWithNoRedisNamedTheStoreIsEmbedded(t *testing.T) {
	store, _ := open(t, config.Redis{Timeout: time.Second})
	if !store.Embedded || store.Tracking || store.Address != "embedded" {
		t.Errorf("embedded %v, tracking %v, address %s", store.Embedded, store.Tracking, store.Address)
	}
	redistest.Do(t, store.Client, "SET", "k", "v", "PX", "300")
	if got := redistest.Do(t, store.Client, "GET", "k"); got != "v" {
		t.Errorf("GET: %q", got)
	}
	eventually(t, "the key expires", func() bool { return redistest.Do(t, store.Client, "GET", "k") == "" })
}

func TestNobodyElseOnTheMachineGetsIntoTheEmbeddedStore(t *testing.T) {
	store, _ := open(t, config.Redis{Timeout: time.Second})
	addresses := 0
	for addr := range store.Client.Nodes() {
		addresses++
		if !strings.HasPrefix(addr, "127.0.0.1:") {
			t.Errorf("it listens on %s", addr)
		}
		for _, password := range []string{"", "guess"} {
			client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, Password: password,
				ForceSingleClient: true, DisableCache: true})
			if err == nil {
				err = client.Do(t.Context(), client.B().Get().Key("k").Build()).Error()
				client.Close()
			}
			if _, refused := rueidis.IsRedisErr(err); !refused || rueidis.IsRedisNil(err) {
				t.Errorf("with password %q: %v", password, err)
			}
		}
	}
	if addresses != 1 {
		t.Errorf("%d addresses", addresses)
	}
}

// A record that ends early makes its webhook execute again. A key that is set within a tick is charged the whole tick,
// so the test leaves room for one late tick.
func TestTTLsOfTheEmbeddedStoreEndWithTheTimeThatPasses(t *testing.T) {
	server := miniredis.RunT(t)
	client := redistest.Client(t, server.Addr())
	stop := redis.DriveClock(server, 5*time.Millisecond)
	defer stop()
	set := time.Now()
	redistest.Do(t, client, "SET", "k", "v", "PX", "3000")
	redistest.Do(t, client, "SET", "stays", "v", "PX", "60000")
	eventually(t, "the key expires", func() bool { return redistest.Do(t, client, "GET", "k") == "" })
	if lived := time.Since(set); lived < 500*time.Millisecond || lived > 20*time.Second {
		t.Errorf("it lived for %v", lived)
	}
	if redistest.Do(t, client, "GET", "stays") != "v" {
		t.Error("the other one has ended, too")
	}
}

func TestAClockThatIsNotDrivenStandsStill(t *testing.T) {
	server := miniredis.RunT(t)
	client := redistest.Client(t, server.Addr())
	redis.DriveClock(server, time.Millisecond)() // driven, and stopped
	redistest.Do(t, client, "SET", "k", "v", "PX", "1")
	time.Sleep(20 * time.Millisecond) // the test shows that nothing happens for that long
	if redistest.Do(t, client, "GET", "k") != "v" {
		t.Error("the clock goes on")
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		store, err := redis.Open(t.Context(), config.Redis{Timeout: time.Second}, ignore, new(journal).logger())
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		store.Close()
	}
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

func TestCloseOfARealOneLeavesNothingBehind(t *testing.T) {
	s := redistest.Start(t)
	before := runtime.NumGoroutine()
	store, err := redis.Open(t.Context(), at(s.Addr()), ignore, new(journal).logger())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	store.Close()
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}
