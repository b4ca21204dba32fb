package sweeper

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"
)

//go:embed orphan.lua
var clearing string

// orphan is a record of ours that had no TTL when it was looked at.
type orphan struct {
	key  string
	head string // its first bytes, by which it is known again
}

// clear gives orphans a TTL, and counts those that got it: at once, so that a sweep that breaks off loses none.
func (w *walk) clear(ctx context.Context, server rueidis.Client, orphans []orphan) error {
	if len(orphans) == 0 {
		return nil
	}
	ttl := strconv.FormatInt(w.ResultTTL.Milliseconds(), 10)
	commands := make(rueidis.Commands, len(orphans))
	for i, o := range orphans {
		commands[i] = server.B().Eval().Script(clearing).Numkeys(1).Key(o.key).Arg(o.head, ttl).Build()
	}
	var cleared int64
	var broken error
	for i, reply := range server.DoMulti(ctx, commands...) {
		n, err := reply.AsInt64()
		if err != nil {
			broken = fmt.Errorf("a TTL for %s: %w", orphans[i].key, err)
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
