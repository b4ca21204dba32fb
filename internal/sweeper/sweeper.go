// Package sweeper looks at all records once in a while, in the background. It counts them for the gauges in the metrics
// hash, and gives a TTL to records that have none, so that no record stays for ever. One replica sweeps at a time
// (turn.go), slowly enough that webhooks do not notice (pace.go).
package sweeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/sleep"
)

// Options are a sweeper's settings. All but Timeout must be set.
type Options struct {
	Keys redis.Keys

	Interval         time.Duration // pause between two sweeps; all replicas together sweep once in it
	ResultTTL        time.Duration // TTL for a record without one
	DoubtTTL         time.Duration // its TTL instead if it is in progress, in doubt, or has a verdict
	ExecutionTimeout time.Duration // an execution that was claimed longer ago is overdue
	Timeout          time.Duration // of a batch, or of another call; 0: 5 s

	// Tenants returns each tenant's own limits, in place of those above; nil: there are no tenants.
	Tenants func() map[string]Limits

	Log *slog.Logger
}

// Limits are the limits of a tenant's records.
type Limits struct{ ResultTTL, DoubtTTL, ExecutionTimeout time.Duration }

// Sweeper sweeps for one replica. Sweep and Run are safe for concurrent use; one sweep runs at a time.
type Sweeper struct {
	Options
	client rueidis.Client
	rest   func(context.Context, time.Duration) error // pauses between batches
}

// New returns a sweeper that does nothing until Run or Sweep is called. It does not close the client.
func New(client rueidis.Client, o Options) *Sweeper {
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	return &Sweeper{Options: o, client: client, rest: sleep.For}
}

// Report says what a sweep found and did. Its counts are numbers of records.
//
// SCAN may return a key twice while Redis shrinks its table. Such a record is counted twice, because remembering the
// keys would take memory for every record. OrphansCleared is exact.
type Report struct {
	Active     int // records of ours, in any state
	InProgress int
	Overdue    int // the part of InProgress that was claimed longer ago than ExecutionTimeout, by Redis' clock
	Undecided  int // records with a verdict: poisoned or doubtful

	OrphansCleared int    // records of ours that had no TTL and have one now
	Foreign        int    // values at our keys that no version of ours wrote; they are left as they are
	ForeignKey     string // key of one of them, "" if there is none

	DetectionRate float64   // duplicates among all requests, 0 to 1, since the metrics hash began
	SweptAt       time.Time // by Redis' clock

	Took time.Duration // from the first call to the last
	Busy time.Duration // the part of Took in which batches waited for Redis: an upper bound of Redis' own work
}

// ErrNotOurTurn says that another sweep is running, or ran within the interval.
var ErrNotOurTurn = errors.New("another sweep has the turn")

// Run sweeps at once and then every Interval, until ctx ends. It logs a sweep that fails and goes on.
func (s *Sweeper) Run(ctx context.Context) {
	for {
		report, err := s.Sweep(ctx)
		if ctx.Err() != nil {
			return
		}
		s.log(ctx, report, err)
		if sleep.For(ctx, s.Interval) != nil {
			return
		}
	}
}

// Sweep looks at every record if it is this sweeper's turn; if not, the error is ErrNotOurTurn. After any error the
// gauges are still those of the previous sweep, and the report says how far this one came.
func (s *Sweeper) Sweep(ctx context.Context) (Report, error) {
	begun := time.Now()
	turn := s.newTurn()
	if err := turn.hold(ctx); err != nil {
		return Report{}, err
	}
	clock, err := s.redisClock(ctx)
	if err != nil {
		return Report{}, err
	}
	w := walk{Sweeper: s, turn: turn, clock: clock}
	w.begin()
	servers, err := redis.Primaries(ctx, s.client)
	if err != nil {
		return Report{}, err
	}
	for address, node := range servers {
		if err := w.visit(ctx, node); err != nil {
			w.report.Took = time.Since(begun)
			return w.report, fmt.Errorf("sweeping redis at %s: %w", address, err)
		}
	}
	w.report.SweptAt = clock.now()
	err = s.publish(ctx, &w.report, w.byTenant)
	w.report.Took = time.Since(begun)
	return w.report, err
}

// log writes one line about a sweep.
func (s *Sweeper) log(ctx context.Context, r Report, err error) {
	switch {
	case errors.Is(err, ErrNotOurTurn):
		s.Log.DebugContext(ctx, "not swept", "reason", err)
	case err != nil:
		s.Log.WarnContext(ctx, "a sweep broke off", "error", err, "orphans_cleared", r.OrphansCleared, "took", r.Took,
			"again_in", s.Interval)
	default:
		attributes := []any{
			"active_fingerprints", r.Active, "in_progress", r.InProgress, "overdue", r.Overdue, "undecided", r.Undecided,
			"orphans_cleared", r.OrphansCleared, "detection_rate", math.Round(r.DetectionRate*1e4) / 1e4, "took", r.Took, "busy",
			r.Busy,
		}
		level := slog.LevelInfo
		if r.Foreign > 0 {
			level = slog.LevelWarn
			attributes = append(attributes, "foreign", r.Foreign, "foreign_key", r.ForeignKey)
		}
		s.Log.Log(ctx, level, "swept", attributes...)
	}
}

// clock returns Redis' time without asking Redis again.
type clock struct {
	redis time.Time
	ours  time.Time
}

func (c clock) now() time.Time { return c.redis.Add(time.Since(c.ours)) }

func (s *Sweeper) redisClock(ctx context.Context) (clock, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	now, err := redis.Clock(s.client.Do(ctx, s.client.B().Time().Build()))
	return clock{redis: now, ours: time.Now()}, err
}
