package sweeper

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/rueidis"
)

// clear gives each orphan (a record of ours without a TTL) a TTL, and counts those that got one. It counts them at
// once, so that the count is right even if the sweep breaks off later. A record that was written since it was read gets
// the TTL of that write once more.
func (w *walk) clear(ctx context.Context, orphans map[string]time.Duration) error {
	if len(orphans) == 0 {
		return nil
	}
	keys := slices.Collect(maps.Keys(orphans))
	commands := make(rueidis.Commands, len(keys))
	for i, key := range keys {
		commands[i] = w.client.B().Pexpire().Key(key).Milliseconds(orphans[key].Milliseconds()).Build()
	}
	var cleared int64
	var broken error
	for i, reply := range w.client.DoMulti(ctx, commands...) {
		n, err := reply.AsInt64() // 0: the key does not exist any more
		if err != nil {
			broken = fmt.Errorf("a TTL for %s: %w", keys[i], err)
		}
		cleared += n
	}
	w.report.OrphansCleared += int(cleared)
	if cleared == 0 {
		return broken
	}
	count := w.client.B().Hincrby().Key(w.Keys.Metrics()).Field("orphans_cleared").Increment(cleared).Build()
	if err := w.client.Do(ctx, count).Error(); err != nil {
		return fmt.Errorf("orphans_cleared in %s: %w", w.Keys.Metrics(), err)
	}
	return broken
}
