package sweeper

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
)

// Only the head of a value is read, never a whole result.
const (
	shortHead = 256  // bytes; they hold the line of nearly every record
	longHead  = 4096 // bytes; they hold the line of any record
)

// The replies of PTTL if there is no time to return.
const (
	endless = -1 // the key has no TTL
	gone    = -2 // the key does not exist
)

// look counts the records at keys, and clears the orphans among them.
func (w *walk) look(ctx context.Context, keys []string) error {
	commands := make(rueidis.Commands, 0, 2*len(keys))
	for _, key := range keys {
		commands = append(commands, w.getHead(key, shortHead), w.client.B().Pttl().Key(key).Build())
	}
	replies := w.client.DoMulti(ctx, commands...)

	orphans := make(map[string]record.Record)
	for i, key := range keys {
		ttl, err := replies[2*i+1].AsInt64()
		if err != nil {
			return fmt.Errorf("PTTL of %s: %w", key, err)
		}
		if ttl == gone {
			continue
		}
		head, err := replies[2*i].ToString()
		if err == nil && len(head) == shortHead && !strings.Contains(head, "\n") {
			head, err = w.client.Do(ctx, w.getHead(key, longHead)).ToString()
		}
		if err != nil && !redis.WrongType(err) {
			return fmt.Errorf("head of %s: %w", key, err)
		}
		if _, _, ours := w.Keys.Parse(key); !ours {
			continue // another deployment's, or another program's
		}
		r, unreadable := record.Parse([]byte(head))
		if unreadable != nil {
			w.report.Foreign++
			w.report.ForeignKey = key
			continue
		}
		w.count(r)
		if ttl == endless {
			orphans[key] = r
		}
	}
	return w.clear(ctx, orphans)
}

func (w *walk) getHead(key string, bytes int64) rueidis.Completed {
	return w.client.B().Getrange().Key(key).Start(0).End(bytes - 1).Build()
}

func (w *walk) count(r record.Record) {
	w.report.Active++
	if r.State != record.InProgress {
		return
	}
	w.report.InProgress++
	if w.clock.now().Sub(r.Started) > w.ExecutionTimeout {
		w.report.Overdue++
	}
}
