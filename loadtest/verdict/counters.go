package verdict

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/sleep"
)

// Counters are the counters of all replicas, from the metrics hash. In Redis Cluster the hashes of all buckets are
// added up. The names of a tenant's counters begin with its name and a slash.
type Counters struct {
	counts  map[string]int64
	scraped map[string]int64 // the replicas' own numbers for Prometheus, by series; nil: they were not asked
	history string           // Redis' own name for its line of data (replication id)
}

// Of returns the counters of a tenant, under the names of the totals; "" returns the totals.
func (c Counters) Of(tenant string) Counters {
	if tenant == "" {
		return c
	}
	own := Counters{counts: map[string]int64{}, history: c.history}
	pick := func(from, to map[string]int64) {
		for name, n := range from {
			if plain, ok := strings.CutPrefix(name, tenant+"/"); ok {
				to[plain] = n
			}
		}
	}
	pick(c.counts, own.counts)
	if c.scraped != nil {
		own.scraped = map[string]int64{}
		pick(c.scraped, own.scraped)
	}
	return own
}

// Book says where the replicas count.
type Book struct {
	Client rueidis.Client
	Keys   redis.Keys
	Flush  time.Duration // METRICS_FLUSH of the replicas: how long they hold counts back
	Tenant string        // the tenant whose counters must stand still to be read; "": the totals

	Scrapes []string // URLs of /metrics of all replicas; none: they are not asked
}

// Times for waiting until the counters do not change any more.
const (
	look   = 50 * time.Millisecond
	margin = 400 * time.Millisecond // added to Flush, for the way to Redis
	// patience is longer than any execution (EXECUTION_TIMEOUT).
	patience = 40 * time.Second
)

// Quiet reads the counters once no execution is under way and no counter has changed for longer than replicas hold
// counts back. since are the counters from before the load; nil: there are none.
func (b Book) Quiet(ctx context.Context, since *Counters) (Counters, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience,
		errors.New("it goes on counting: does something else use this gateway?"))
	defer cancel()
	var last Counters
	for moved := time.Now(); ; {
		now, err := b.read(ctx)
		if err != nil {
			return Counters{}, err
		}
		own := now.Of(b.Tenant)
		if !maps.Equal(own.counts, last.counts) {
			last, moved = own, time.Now()
		}
		still := time.Since(moved) > b.Flush+margin
		if still && (since == nil || !own.since(since.Of(b.Tenant)).running()) {
			now.scraped, err = b.scrape(ctx)
			return now, err
		}
		if sleep.For(ctx, look) != nil {
			if still {
				return now, nil // an execution never ended: the rules will say so
			}
			return Counters{}, fmt.Errorf("%s: %w", b.Keys.Metrics(), context.Cause(ctx))
		}
	}
}

func (b Book) read(ctx context.Context) (Counters, error) {
	fields, err := redis.Metrics(ctx, b.Client, b.Keys)
	if err != nil {
		return Counters{}, err
	}
	c := Counters{counts: map[string]int64{}, history: fields["history"]}
	for name, text := range fields { // a counter that is missing was not written yet
		if plain := name[strings.LastIndexByte(name, '/')+1:]; !slices.Contains(counted, plain) {
			continue
		}
		if c.counts[name], err = strconv.ParseInt(text, 10, 64); err != nil {
			return Counters{}, fmt.Errorf("%s, %s: %w", b.Keys.Metrics(), name, err)
		}
	}
	return c, nil
}

// since returns the difference to earlier counters.
func (c Counters) since(earlier Counters) Counters {
	grown := Counters{counts: map[string]int64{}}
	for name, n := range c.counts {
		grown.counts[name] = n - earlier.counts[name]
	}
	if c.scraped != nil {
		grown.scraped = map[string]int64{}
		for outcome, n := range c.scraped {
			grown.scraped[outcome] = n - earlier.scraped[outcome]
		}
	}
	return grown
}

func (c Counters) of(name string) int64 { return c.counts[name] }

// ended returns the number of executions that will change no counter any more. An execution that was taken over has
// ended with its replica.
func (c Counters) ended() int64 {
	return c.of("stored") + c.of("failed") + c.of("lost_stores") + c.of("takeovers")
}

func (c Counters) running() bool { return c.of("executed") > c.ended() }

// Known reports whether Redis has a record of a webhook.
func (b Book) Known(ctx context.Context, record string) (bool, error) {
	known, err := b.Client.Do(ctx, b.Client.B().Exists().Key(record).Build()).AsBool()
	if err != nil {
		return false, fmt.Errorf("looking for %s: %w", record, err)
	}
	return known, nil
}
