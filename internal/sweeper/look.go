package sweeper

import (
	"context"
	"fmt"
	"strings"
	"time"

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

	orphans := make(map[string]time.Duration)
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
		tenant, _, ours := w.Keys.Parse(key)
		if !ours && !w.Keys.Near(key) {
			continue
		}
		r, unreadable := record.Parse([]byte(head))
		if !ours || unreadable != nil {
			w.report.Foreign++
			w.report.ForeignKey = key
			continue
		}
		limits := w.of(tenant)
		w.count(tenant, r, limits.ExecutionTimeout)
		if ttl == endless {
			orphans[key] = limits.of(&r)
		}
	}
	return w.clear(ctx, orphans)
}

func (w *walk) getHead(key string, bytes int64) rueidis.Completed {
	return w.client.B().Getrange().Key(key).Start(0).End(bytes - 1).Build()
}

// count counts a record, for all and for its tenant.
func (w *walk) count(tenant string, r record.Record, timeout time.Duration) {
	own := w.byTenant[tenant]
	if own == nil {
		own = new(counts)
		w.byTenant[tenant] = own
	}
	w.report.Active++
	own.active++
	if r.Verdict != record.NoVerdict {
		w.report.Undecided++
		own.undecided++
	}
	if r.State != record.InProgress {
		return
	}
	w.report.InProgress++
	own.inProgress++
	if w.clock.now().Sub(r.Started) > timeout {
		w.report.Overdue++
		own.overdue++
	}
}

// of returns the TTL for a record without one.
func (l Limits) of(r *record.Record) time.Duration {
	if r.State == record.InProgress || r.Doubt || r.Verdict != record.NoVerdict {
		return max(l.ResultTTL, l.DoubtTTL) // if a doubt were forgotten too early, its webhook would execute again
	}
	return l.ResultTTL
}
