package redis

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/config"
)

// lookAtShards is how often the cluster is asked which server has which slots. Redirections tell of a change sooner.
const lookAtShards = 5 * time.Second

// joinCluster replaces the client by one for the whole cluster, and spreads the keys over buckets. The caller puts
// "redis at …" before its errors.
func (s *Store) joinCluster(
	ctx context.Context, option rueidis.ClientOption, c config.Redis, gateway bool, log *slog.Logger,
) error {
	option.ForceSingleClient = false
	option.ClusterOption.ShardsRefreshInterval = lookAtShards
	client, err := connect(ctx, option, s.Keys, c.Retries, log)
	if err != nil {
		return fmt.Errorf("is a cluster: %w", err)
	}
	s.Client.Close()
	s.Client = client
	buckets, err := agreeOnBuckets(ctx, client, c, gateway)
	if err != nil {
		return err
	}
	s.Keys = NewClusterKeys(c.KeyPrefix, buckets)
	log.Info("redis is a cluster", "redis", s.Address, "buckets", buckets)
	return nil
}

// agreeOnBuckets compares the number of buckets with the one that the first replica wrote down. With another number a
// replica would look for records at keys that no other uses, and execute webhooks again. A command (gateway is false)
// writes no number down, and uses the one in Redis.
func agreeOnBuckets(ctx context.Context, client rueidis.Client, c config.Redis, gateway bool) (buckets int, err error) {
	key := c.KeyPrefix + ":buckets"
	ctx, cancel := context.WithTimeout(ctx, 2*c.Timeout)
	defer cancel()
	if gateway {
		err := client.Do(ctx, client.B().Set().Key(key).Value(strconv.Itoa(c.Buckets)).Nx().Build()).Error()
		if err != nil && !rueidis.IsRedisNil(err) {
			return 0, fmt.Errorf("does not take the number of buckets at %s: %w", key, err)
		}
	}
	agreed, err := client.Do(ctx, client.B().Get().Key(key).Build()).AsInt64()
	switch {
	case rueidis.IsRedisNil(err):
		return c.Buckets, nil // no gateway has run here yet
	case err != nil:
		return 0, fmt.Errorf("does not tell the number of buckets at %s: %w", key, err)
	case agreed < 1 || agreed > 256:
		return 0, fmt.Errorf("has %d as its number of buckets at %s: that is not ours", agreed, key)
	case gateway && agreed != int64(c.Buckets):
		return 0, fmt.Errorf("has another number of buckets: BUCKETS is %d, but %s, where the first replica wrote it down, "+
			"has %d: all replicas must have the same",
			c.Buckets, key, agreed)
	}
	return int(agreed), nil
}
