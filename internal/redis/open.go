// Package redis opens the Redis that all replicas share, or the embedded store for trying out, and knows the names of
// our keys.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/backoff"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/internal/tlsfile"
)

// lookAtSentinels is how often the Sentinels are asked for the primary: a switch that they announced while no
// connection listened would be missed.
const lookAtSentinels = 5 * time.Second

// cacheBytes bounds the client-side cache of each connection; rueidis opens four.
const cacheBytes = 64 << 20

// Store is an open Redis.
type Store struct {
	Client   rueidis.Client
	Keys     Keys
	Embedded bool
	Tracking bool   // Redis reports when a record that was read changes
	Address  string // for a person, without secrets

	close []func()
}

// Close closes the connections and, if there is one, the embedded store.
func (s *Store) Close() {
	s.Client.Close()
	for _, f := range s.close {
		f()
	}
}

// Open connects to the Redis that c names, or starts the embedded store if it names none. It refuses a Redis that
// cannot keep the promise, and warns of settings that endanger it.
//
// invalidated receives the keys that changed, nil for all of them (rueidis' OnInvalidations). Commands pass no
// invalidated: then no key is tracked, and Redis need not accept what a gateway writes.
func Open(
	ctx context.Context, c config.Redis, invalidated func(keys []rueidis.RedisMessage), log *slog.Logger,
) (*Store, error) {
	if c.Embedded() {
		return openEmbedded(c)
	}
	option, err := clientOption(c)
	if err != nil {
		return nil, err
	}
	option.DisableCache = invalidated == nil
	option.OnInvalidations = invalidated
	s, err := openWith(ctx, option, c, invalidated != nil, log)
	if u, ok := errors.AsType[untracked](err); ok {
		log.Warn("this redis reports no changes (CLIENT TRACKING and CACHING, RESP3): waiting replicas poll, "+
			"and every duplicate costs a round trip", "redis", address(option), "reason", u.reason)
		option.DisableCache = true
		s, err = openWith(ctx, option, c, invalidated != nil, log)
	}
	return s, err
}

// address returns the addresses in an option, for logs: it shows no secret.
func address(option rueidis.ClientOption) string { return strings.Join(option.InitAddress, ",") }

// openWith opens with or without the client-side cache, as the option says. An untracked error asks the caller to try
// again without it.
func openWith(
	ctx context.Context, option rueidis.ClientOption, c config.Redis, gateway bool, log *slog.Logger,
) (*Store, error) {
	s := &Store{Keys: NewKeys(c.KeyPrefix), Address: address(option), Tracking: !option.DisableCache}
	var err error
	if s.Client, err = connect(ctx, option, s.Keys, c.Retries, log); err != nil {
		return nil, fmt.Errorf("redis at %s: %w", s.Address, err)
	}
	cluster, err := s.checkServer(ctx, log)
	switch several := len(option.InitAddress) > 1 && option.ForceSingleClient; {
	case err == nil && cluster:
		err = s.joinCluster(ctx, option, c, gateway, log)
	case err == nil && several:
		err = errors.New("are several, and no cluster: name the one that has the records, or Sentinels with ?master_set=NAME")
	}
	if err == nil && gateway {
		err = s.tryCommands(ctx, s.Keys.Unused())
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("redis at %s %w", s.Address, err)
	}
	return s, nil
}

// clientOption returns rueidis' options. Its own retries are off: the gate repeats a question that got no answer,
// because it knows the token under which to ask.
func clientOption(c config.Redis) (rueidis.ClientOption, error) {
	option := rueidis.ClientOption{
		InitAddress: []string{net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))},
		Username:    c.Username, Password: string(c.Password), SelectDB: c.DB,
	}
	if c.URL != "" {
		var err error
		if option, err = parseURL(string(c.URL)); err != nil {
			return option, errors.New("REDIS_URL can't be read: want redis://[user:password@]host[:port][/db], rediss://… or " +
				"unix:///path")
		}
	}
	if option.TLSConfig != nil {
		var err error
		if option.TLSConfig, err = tlsfile.Load(c.TLSCA, c.TLSCert, c.TLSKey); err != nil {
			return option, fmt.Errorf("TLS to redis (REDIS_TLS_…): %w", err)
		}
	}
	option.ClientName = "oncegate"
	if option.AlwaysRESP2 {
		withoutHello(&option)
	}
	option.ClientSetInfo = rueidis.DisableClientSetInfo // otherwise an ACL must allow it, or logs a refusal
	option.Dialer.Timeout = config.DialTimeout
	option.Dialer.KeepAlive = rueidis.DefaultTCPKeepAlive
	option.ConnWriteTimeout = c.Timeout
	option.AlwaysPipelining = true // otherwise a timeout of one call closes the connection of all
	option.DisableRetry = true
	option.ForceSingleClient = option.Sentinel.MasterSet == ""
	option.CacheSizeEachConn = cacheBytes
	option.Sentinel = rueidis.SentinelOption{
		MasterSet: option.Sentinel.MasterSet, Username: c.SentinelUsername, Password: string(c.SentinelPassword),
		ClientName: option.ClientName, Dialer: option.Dialer, TLSConfig: option.TLSConfig,
		TopologyRefreshInterval: lookAtSentinels,
	}
	return option, nil
}

// parseURL parses a URL as rueidis does, and also accepts a path "/" without a database.
func parseURL(text string) (rueidis.ClientOption, error) {
	u, err := url.Parse(text)
	if err != nil {
		return rueidis.ClientOption{}, err
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return rueidis.ParseURL(u.String())
}

// between returns the pauses between tries to connect: 1 s, 2 s, 4 s, … on average. They are random, so that replicas
// that were started together do not all come back at once.
func between() backoff.Backoff { return backoff.Backoff{First: 2 * time.Second, Most: time.Minute} }

// connect connects. It tries again, after growing pauses, if Redis does not answer.
func connect(
	ctx context.Context, option rueidis.ClientOption, keys Keys, retries int, log *slog.Logger,
) (rueidis.Client, error) {
	pauses := between()
	for try := 0; ; try++ {
		client, err := dial(ctx, option, keys)
		if err == nil {
			return client, nil
		}
		if isFinal(err) {
			return nil, likely(err, option)
		}
		if try == retries {
			return nil, fmt.Errorf("can't be reached (tried %d×): %w", try+1, likely(err, option))
		}
		pause := pauses.Next().Round(time.Millisecond)
		log.Warn("redis can't be reached", "try", try+1, "of", retries+1, "again_in", pause, "error", likely(err, option))
		if err := sleep.For(ctx, pause); err != nil {
			return nil, fmt.Errorf("connecting: %w", err)
		}
	}
}

// dial connects to a Redis that serves. One that still loads its data accepts connections, but answers no read.
func dial(ctx context.Context, option rueidis.ClientOption, keys Keys) (rueidis.Client, error) {
	client, err := rueidis.NewClient(option)
	for ; err != nil && option.ForceSingleClient && len(option.InitAddress) > 1; client, err = rueidis.NewClient(option) {
		option.InitAddress = option.InitAddress[1:] // any server of a cluster will do
	}
	if errors.Is(err, rueidis.ErrNoCache) {
		return nil, noTracking(err, option)
	}
	if err != nil {
		return nil, err
	}
	if err = tryReading(ctx, client, option, keys.Unused()); err == nil && !option.DisableCache {
		err = tryTracking(ctx, client, option, keys.Probe())
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// tryReading returns an error if Redis cannot answer a read yet, or if a server of a cluster cannot be reached. key
// need not exist.
func tryReading(ctx context.Context, client rueidis.Client, option rueidis.ClientOption, key string) error {
	ctx, cancel := context.WithTimeout(ctx, option.ConnWriteTimeout)
	defer cancel()
	err := client.Do(ctx, client.B().Get().Key(key).Build()).Error()
	said, ok := rueidis.IsRedisErr(err)
	switch {
	case ok && said.IsLoading():
		return err
	case err == nil, ok, rueidis.IsRedisNil(err), client.Mode() != rueidis.ClientModeCluster:
		return nil
	}
	if errors.Is(err, rueidis.ErrNoSlot) {
		return fmt.Errorf("no server of it has the slot of %s, see CLUSTER INFO: %w", key, err)
	}
	return elsewhere(client, err)
}

// isFinal reports whether another try to connect cannot succeed: Redis itself said no (a wrong password, no tracking),
// its certificate is not trusted, or it does not speak TLS. A Redis that is still loading its data will answer later.
func isFinal(err error) bool {
	var untrusted *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	var u untracked
	if errors.As(err, &u) || errors.As(err, &untrusted) || errors.As(err, &plain) {
		return true
	}
	said, ok := rueidis.IsRedisErr(err)
	return ok && !said.IsLoading()
}

// checkServer checks the settings of Redis that the promise depends on, and returns whether it is a cluster. The caller
// puts "redis at …" before its errors.
func (s *Store) checkServer(ctx context.Context, log *slog.Logger) (cluster bool, err error) {
	info, err := s.Client.Do(ctx, s.Client.B().Info().Build()).ToString()
	if err != nil {
		log.Warn("redis does not show its settings (INFO): whether it evicts records can't be checked", "error", err)
		return false, nil
	}
	if field(info, "redis_mode") == "sentinel" || field(info, "server_mode") == "sentinel" { // the latter is Valkey's
		return false, errors.New("is a Sentinel: name the set that it watches in REDIS_URL, with ?master_set=NAME")
	}
	cluster = field(info, "cluster_enabled") == "1"
	if field(info, "role") == "slave" && !cluster {
		return false, errors.New("is a read-only replica: connect to its primary")
	}
	if policy := field(info, "maxmemory_policy"); policy != "" && policy != "noeviction" {
		log.Warn("REDIS MAY EVICT RECORDS: an evicted record makes its webhook execute again; set "+
			"maxmemory-policy noeviction",
			"maxmemory_policy", policy)
	}
	return cluster, nil
}

// field returns the value of a field in INFO's reply, or "" if it is missing.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}
