package redis

import (
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/config"
)

// clockTick is how often the embedded store's time advances: miniredis lets no TTL expire by itself.
const clockTick = time.Second

// openEmbedded starts a store in this process, and connects to it over loopback. It ends with the process.
func openEmbedded(c config.Redis) (*Store, error) {
	server := miniredis.NewMiniRedis()
	password := rand.Text() // every user of the machine can connect to a port on loopback
	server.RequireAuth(password)
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, Password: password,
		ForceSingleClient: true, DisableCache: true, // miniredis has no cluster commands and no tracking
		AlwaysPipelining: true, DisableRetry: true,
		ConnWriteTimeout: c.Timeout,
	})
	if err != nil {
		server.Close()
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	return &Store{
		Client: client, Keys: NewKeys(c.KeyPrefix), Embedded: true, Address: "embedded",
		close: []func(){driveClock(server, clockTick), server.Close},
	}, nil
}

// driveClock advances the store's time by the time that really passes. The returned function stops it.
func driveClock(server *miniredis.Miniredis, every time.Duration) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case now := <-tick.C:
				server.FastForward(now.Sub(last))
				last = now
			case <-done:
				return
			}
		}
	})
	return func() { close(done); running.Wait() }
}
