// Package sweeper looks at all records once in a while, beside the way of a webhook and never on it: it counts them for
// the gauges of the metrics hash, and gives records without a TTL one, so that nothing stays for ever. Of all replicas
// one sweeps at a time (turn.go), slowly enough that webhooks do not notice (pace.go).
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

// Options are a sweeper's settings. All must be set but Timeout.
type Options struct {
	Keys redis.Keys

	Interval         time.Duration // from the end of a sweep to the next; over all replicas there is one sweep in it
	ResultTTL        time.Duration // what a record without a TTL gets
	DoubtTTL         time.Duration // what one gets instead that is in progress, in doubt, or has a verdict
	ExecutionTimeout time.Duration // a run that was claimed longer ago is overdue
	Timeout          time.Duration // of a batch, or of another call; 0: 5 s, since nobody waits for a sweep

	Log *slog.Logger
}

// Sweeper is one replica's. Sweep and Run may be called by any number of goroutines, of which one at a time sweeps.
type Sweeper struct {
	Options
	client rueidis.Client
	rest   func(context.Context, time.Duration) error // how it pauses between batches
}

// New returns a sweeper that does nothing before Run or Sweep. It does not close the client.
func New(client rueidis.Client, o Options) *Sweeper {
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	return &Sweeper{Options: o, client: client, rest: sleep.For}
}

// Report is what a sweep found and did. Counts are of records.
//
// SCAN may name a key twice while Redis shrinks its table. Such a record is counted twice in that sweep, since to know
// better would take memory for every record there is; OrphansCleared is exact.
type Report struct {
	Active     int // records of ours, in any state
	InProgress int
	Overdue    int // of these: claimed longer ago than ExecutionTimeout, by Redis' clock

	OrphansCleared int    // records of ours that had no TTL and have one now
	Foreign        int    // values at our keys that no version of ours wrote; they are left as they are
	ForeignKey     string // one of them, "" where there is none

	DetectionRate float64   // duplicates among all requests, 0 to 1, since the metrics hash began
	SweptAt       time.Time // by Redis' clock

	Took time.Duration // from the first call to the last
	Busy time.Duration // of it: until batches were answered; Redis worked no longer than that
}

// ErrNotOurTurn says that another sweep is under way, or was within the interval.
var ErrNotOurTurn = errors.New("another sweep has the turn")

// Run sweeps at once and then every Interval, until ctx ends. A sweep that fails is logged; the next one comes all the
// same.
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

// Sweep looks at every record, if it is this sweeper's turn: if not, the error is ErrNotOurTurn. After any error the
// gauges are those of the sweep before, and the report tells how far this one came.
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
	err = s.publish(ctx, &w.report)
	w.report.Took = time.Since(begun)
	return w.report, err
}

// log writes a sweep's one line.
func (s *Sweeper) log(ctx context.Context, r Report, err error) {
	switch {
	case errors.Is(err, ErrNotOurTurn):
		s.Log.DebugContext(ctx, "not swept", "reason", err)
	case err != nil:
		s.Log.WarnContext(ctx, "a sweep broke off", "error", err, "orphans_cleared", r.OrphansCleared, "took", r.Took,
			"again_in", s.Interval)
	default:
		attributes := []any{
			"active_fingerprints", r.Active, "in_progress", r.InProgress, "overdue", r.Overdue,
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

// clock tells Redis' time without asking again.
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
