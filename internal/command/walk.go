package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
)

const (
	scanned   = 250  // number of keys that one SCAN walks over
	shortHead = 1024 // bytes; they hold the line of any record without a result
)

// met is a record that a walk has found.
type met struct {
	name fingerprint.Fingerprint
	record.Record
	now time.Time // by the clock of the Redis that holds it
}

// ended returns when the attempt that the record is about ended, or when its lease did.
func (m met) ended() time.Time {
	if m.State == record.InProgress {
		return m.Deadline
	}
	return m.FailedAt
}

// walk goes over all records in small steps, and returns those that are wanted in the order in which they ended.
func (d Deployment) walk(ctx context.Context, wanted func(met) bool) ([]met, error) {
	servers, err := redis.Primaries(ctx, d.Client)
	if err != nil {
		return nil, err
	}
	found := make(map[fingerprint.Fingerprint]met) // SCAN may return a key twice
	for address, server := range servers {
		if err := d.walkOver(ctx, server, wanted, found); err != nil {
			return nil, fmt.Errorf("walking over the records in redis at %s: %w", address, err)
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b met) int {
		if a.ended().Equal(b.ended()) {
			return slices.Compare(a.name[:], b.name[:])
		}
		return a.ended().Compare(b.ended())
	}), nil
}

func (d Deployment) walkOver(
	ctx context.Context, server rueidis.Client, wanted func(met) bool, found map[fingerprint.Fingerprint]met,
) error {
	for cursor := uint64(0); ; {
		replies := server.DoMulti(ctx, server.B().Scan().Cursor(cursor).Match(d.Keys.Records()).Count(scanned).Build(),
			server.B().Time().Build())
		entry, err := replies[0].AsScanEntry()
		if err != nil {
			return err
		}
		now, err := redis.Clock(replies[1])
		if err != nil {
			return err
		}
		heads := make(rueidis.Commands, len(entry.Elements))
		for i, key := range entry.Elements {
			heads[i] = d.Client.B().Getrange().Key(key).Start(0).End(shortHead - 1).Build()
		}
		for i, reply := range d.Client.DoMulti(ctx, heads...) {
			head, err := reply.AsBytes()
			if err != nil && !redis.WrongType(err) {
				return err
			}
			r, err := record.Parse(head)
			tenant, name, ours := d.Keys.Parse(entry.Elements[i])
			if m := (met{name, r, now}); err == nil && ours && tenant == d.Tenant && wanted(m) {
				found[name] = m
			}
		}
		if cursor = entry.Cursor; cursor == 0 {
			return nil
		}
	}
}
