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

// clockTick is how often the embedded store's TTLs advance: they do not by themselves.
const clockTick = time.Second

// openEmbedded starts a store in this process, reached over loopback like any other. It dies with the process.
func openEmbedded(c config.Redis) (*Store, error) {
	server := miniredis.NewMiniRedis()
	password := rand.Text() // a port on loopback is open to all of the machine
	server.RequireAuth(password)
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, Password: password,
		ForceSingleClient: true, DisableCache: true, // it has no cluster commands and no tracking
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

// driveClock lets TTLs expire with the time that really passes, until the function that it returns is called.
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
