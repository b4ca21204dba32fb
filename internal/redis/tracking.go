package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/sleep"
)

// toldWithin bounds how long the client-side cache may take to hear of a change. A Redis with tracking needs less than
// a millisecond; a busy machine needs more.
const toldWithin = 3 * time.Second

// untracked is an error that says why the client-side cache cannot be used.
type untracked struct{ reason string }

func (u untracked) Error() string { return "no tracking: " + u.reason }

// noTracking explains why rueidis could not set up a connection with tracking (ErrNoCache).
func noTracking(err error, option rueidis.ClientOption) untracked {
	if option.AlwaysRESP2 {
		return untracked{"REDIS_URL has protocol=2, and it takes RESP3"}
	}
	if words, _, said := strings.Cut(err.Error(), "\n"); said { // Redis' own reply to CLIENT TRACKING
		return untracked{words}
	}
	return untracked{"it does not know HELLO, and so has no RESP3"}
}

// tryTracking finds out by trying whether the client-side cache may be used. It writes a key, reads it through the
// cache, changes it over another connection, and waits until the cache has heard of it. If that fails, the error is an
// untracked; if Redis does not answer, it is another one.
//
// Asking for tracking is not enough. rueidis ignores the answer to CLIENT CACHING: if an engine grants CLIENT TRACKING
// and refuses that, or a proxy swallows invalidations, forgotten results would stay in the cache.
func tryTracking(ctx context.Context, client rueidis.Client, option rueidis.ClientOption, key string) error {
	ctx, cancel := context.WithTimeout(ctx, toldWithin)
	defer cancel()
	if err := client.Do(ctx, client.B().ClientCaching().Yes().Build()).Error(); err != nil {
		return refuses(err)
	}
	option.DisableCache, option.OnInvalidations = true, nil
	other, err := rueidis.NewClient(option)
	if err != nil {
		return fmt.Errorf("a second connection: %w", err)
	}
	defer other.Close()
	write := func() error { // a new value each time: other replicas may be starting now
		return other.Do(ctx, other.B().Set().Key(key).Value(rand.Text()).Px(time.Minute).Build()).Error()
	}
	read := func() (string, error) {
		value, err := client.DoCache(ctx, client.B().Get().Key(key).Cache().ToStaticTTL(), time.Minute).ToString()
		if rueidis.IsRedisNil(err) {
			err = nil
		}
		return value, err
	}
	if err := write(); err != nil {
		return undecided(err)
	}
	before, err := read()
	if err != nil {
		return refuses(err)
	}
	if err := write(); err != nil {
		return undecided(err)
	}
	for {
		value, err := read()
		if err != nil {
			return refuses(err)
		}
		if value != before {
			return nil
		}
		if sleep.For(ctx, time.Millisecond) != nil {
			return untracked{fmt.Sprintf(
				"it takes CLIENT TRACKING and CLIENT CACHING, and yet told nothing of a change within %v", toldWithin)}
		}
	}
}

// refuses turns an error that Redis replied into an untracked. It returns any other error as it is.
func refuses(err error) error {
	if said, ok := rueidis.IsRedisErr(err); ok {
		return untracked{said.Error()}
	}
	return err
}

// undecided handles an error of the write itself. If an ACL refuses it, tryCommands reports that. If Redis is full or
// read-only for now, it is enough that it accepted CLIENT CACHING.
func undecided(err error) error {
	if _, said := rueidis.IsRedisErr(err); said {
		return nil
	}
	return err
}
