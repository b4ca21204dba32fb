// Package redis opens the Redis that all replicas share, or the embedded one for trying out, and knows how our keys
// are called.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/sleep"
)

// cacheBytes bounds the client-side cache of each connection; rueidis keeps four.
const cacheBytes = 64 << 20

// Store is an open Redis.
type Store struct {
	Client   rueidis.Client
	Keys     Keys
	Embedded bool
	Tracking bool   // it tells when a record that was read changes
	Address  string // for a person, without secrets

	close []func()
}

// Close closes the connections, and the embedded store.
func (s *Store) Close() {
	s.Client.Close()
	for _, f := range s.close {
		f()
	}
}

// Open connects, and refuses or warns of a Redis that can't keep the promise. Where c names none, it is the embedded
// store. Invalidated is told which keys changed, nil for all (rueidis' OnInvalidations); without it nothing is tracked.
func Open(ctx context.Context, c config.Redis, invalidated func(keys []rueidis.RedisMessage), log *slog.Logger) (*Store, error) {
	if c.Embedded() {
		return openEmbedded(c)
	}
	option, err := clientOption(c)
	if err != nil {
		return nil, err
	}
	option.DisableCache = invalidated == nil
	option.OnInvalidations = invalidated
	s := &Store{Keys: NewKeys(c.KeyPrefix), Address: strings.Join(option.InitAddress, ","), Tracking: !option.DisableCache}
	if s.Client, err = connect(ctx, option, c.Retries, log); errors.Is(err, rueidis.ErrNoCache) {
		log.Warn("this redis tells no changes (CLIENT TRACKING, RESP3): waiting replicas look again every so often, "+
			"and every duplicate costs a round trip", "redis", s.Address)
		option.DisableCache, s.Tracking = true, false
		s.Client, err = connect(ctx, option, c.Retries, log)
	}
	if err != nil {
		return nil, err
	}
	cluster, err := s.examine(ctx, log)
	if err != nil {
		s.Close()
		return nil, err
	}
	if cluster {
		if err := s.joinCluster(ctx, option, c, log); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// clientOption returns rueidis' options. Its own retries are off: an answer that never came is asked for again by the
// gate, which knows under which token.
func clientOption(c config.Redis) (rueidis.ClientOption, error) {
	option := rueidis.ClientOption{
		InitAddress: []string{net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))},
		Username:    c.Username, Password: string(c.Password), SelectDB: c.DB,
	}
	if c.URL != "" {
		var err error
		if option, err = rueidis.ParseURL(strings.TrimSuffix(string(c.URL), "/")); err != nil {
			return option, errors.New("REDIS_URL can't be read: want redis://[user:password@]host[:port][/db], rediss://… or unix:///path")
		}
	}
	option.ClientName = "oncegate"
	option.Dialer.Timeout = config.DialTimeout
	option.ConnWriteTimeout = c.Timeout
	option.AlwaysPipelining = true // else a timeout of one call costs all of them their connection
	option.DisableRetry = true
	option.ForceSingleClient = option.Sentinel.MasterSet == ""
	option.CacheSizeEachConn = cacheBytes
	return option, nil
}

// connect tries again after 1 s, 2 s, 4 s, … where nobody answers.
func connect(ctx context.Context, option rueidis.ClientOption, retries int, log *slog.Logger) (rueidis.Client, error) {
	pause := time.Second
	for try := 0; ; try++ {
		client, err := dial(ctx, option)
		if err == nil {
			return client, nil
		}
		if answered(err) {
			return nil, fmt.Errorf("redis at %s: %w", strings.Join(option.InitAddress, ","), err)
		}
		if try == retries {
			return nil, fmt.Errorf("redis at %s can't be reached in %d tries: %w", strings.Join(option.InitAddress, ","), try+1, err)
		}
		log.Warn("redis can't be reached", "try", try+1, "of", retries+1, "again_in", pause, "error", err)
		if err := sleep.For(ctx, pause); err != nil {
			return nil, fmt.Errorf("connecting to redis: %w", err)
		}
		pause *= 2
	}
}

// dial connects to a Redis that serves: one that still loads its data takes connections, but answers no read.
func dial(ctx context.Context, option rueidis.ClientOption) (rueidis.Client, error) {
	client, err := rueidis.NewClient(option)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, option.ConnWriteTimeout)
	defer cancel()
	err = client.Do(ctx, client.B().Exists().Key("oncegate").Build()).Error()
	if said, ok := rueidis.IsRedisErr(err); ok && said.IsLoading() {
		client.Close()
		return nil, err
	}
	return client, nil // what else it refuses shows where it is needed
}

// answered reports whether Redis itself said no (a wrong password, no tracking), which no retry changes. A Redis that
// is still loading its data will answer otherwise.
func answered(err error) bool {
	if errors.Is(err, rueidis.ErrNoCache) {
		return true
	}
	said, ok := rueidis.IsRedisErr(err)
	return ok && !said.IsLoading()
}

// examine looks for what the promise rests on, and whether it is a cluster.
func (s *Store) examine(ctx context.Context, log *slog.Logger) (cluster bool, err error) {
	info, err := s.Client.Do(ctx, s.Client.B().Info().Build()).ToString()
	if err != nil {
		log.Warn("redis tells nothing of its settings (INFO): whether it evicts records can't be checked", "error", err)
		return false, nil
	}
	cluster = field(info, "cluster_enabled") == "1"
	if field(info, "role") == "slave" && !cluster {
		return false, fmt.Errorf("redis at %s is a read-only replica: connect to its primary", s.Address)
	}
	if policy := field(info, "maxmemory_policy"); policy != "" && policy != "noeviction" {
		log.Warn("REDIS MAY EVICT RECORDS: an evicted record makes its webhook execute again; set maxmemory-policy noeviction",
			"maxmemory_policy", policy)
	}
	return cluster, nil
}

// field returns a field of INFO's reply, "" where there is none.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}
