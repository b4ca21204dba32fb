package sweeper_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/sweeper"
)

func TestOfManyReplicasAtOnceOneSweeps(t *testing.T) {
	onEach(t, func(e *engine) {
		const replicas = 20
		errs := make([]error, replicas)
		var all sync.WaitGroup
		for i := range errs {
			s := e.replica(time.Minute)
			all.Go(func() { _, errs[i] = s.Sweep(t.Context()) })
		}
		all.Wait()
		swept := 0
		for _, err := range errs {
			if err == nil {
				swept++
			} else if !errors.Is(err, sweeper.ErrNotOurTurn) {
				t.Error(err)
			}
		}
		if swept != 1 {
			t.Errorf("%d of %d swept", swept, replicas)
		}
	})
}

func TestATurnLastsForTheIntervalWhoeverAsks(t *testing.T) {
	const interval = 2 * time.Minute
	onEach(t, func(e *engine) {
		first := e.replica(interval)
		if _, err := first.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.pass(interval / 2)
		for _, s := range []*sweeper.Sweeper{first, e.replica(interval)} {
			if _, err := s.Sweep(t.Context()); !errors.Is(err, sweeper.ErrNotOurTurn) {
				t.Errorf("within the interval: %v", err)
			}
		}
		e.pass(interval / 2)
		if _, err := first.Sweep(t.Context()); err != nil {
			t.Errorf("an interval later: %v", err)
		}
	})
}

func TestOverSeveralReplicasThereIsOneSweepAnInterval(t *testing.T) {
	t.Parallel()
	const interval, intervals = 250 * time.Millisecond, 6
	e := onReal(t)
	begun := time.Now()
	for range 5 {
		e.run(e.replica(interval))
		time.Sleep(interval / 10) // out of step
	}
	eventually(t, func() bool { return len(e.logged.lines("swept")) >= intervals })
	if took := time.Since(begun); took < (intervals-1)*interval*9/10 {
		t.Errorf("%d sweeps in %v", intervals, took)
	}
}

func TestAReplicaWhoseTurnItIsNotSaysSoToWhoWantsToKnow(t *testing.T) {
	onEach(t, func(e *engine) {
		e.do("SET", keys.Sweeper(), "another", "PX", "100000")
		stop := e.run(e.replica(time.Minute))
		eventually(t, func() bool { return len(e.logged.lines("not swept")) == 1 })
		stop()
		if line := e.logged.lines("not swept")[0]; line["level"] != "DEBUG" {
			t.Errorf("logged %v", line)
		}
	})
}

func TestALoneReplicaSweepsAtEachInterval(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	e := onReal(t)
	e.run(e.replica(interval))
	eventually(t, func() bool { return len(e.logged.lines("swept")) >= 4 })
	if refused := e.logged.lines("not swept"); len(refused) > 0 {
		t.Errorf("it was not its turn: %v", refused)
	}
}

func TestACrashedSweeperIsFollowed(t *testing.T) {
	const interval = time.Minute
	onEach(t, func(e *engine) {
		e.plant(key(1), running(e.now()), time.Hour)
		crashing := e.replica(interval)
		crash := errors.New("crash")
		crashing.Rest(func(context.Context, time.Duration) error { return crash })
		if _, err := crashing.Sweep(t.Context()); !errors.Is(err, crash) {
			t.Fatal(err)
		}
		next := e.replica(interval)
		if _, err := next.Sweep(t.Context()); !errors.Is(err, sweeper.ErrNotOurTurn) {
			t.Errorf("at once: %v", err)
		}
		if m := e.metrics(); len(m) != 0 {
			t.Errorf("half a sweep wrote gauges: %v", m)
		}
		e.pass(interval)
		if r, err := next.Sweep(t.Context()); err != nil || r.Active != 1 {
			t.Errorf("an interval later: %+v, %v", r, err)
		}
	})
}

func TestALongSweepKeepsItsTurn(t *testing.T) {
	const interval = 4 * time.Second
	onEach(t, func(e *engine) {
		for i := range 1000 {
			e.plant(key(i), failed(e.now()), time.Hour)
		}
		long := e.replica(interval)
		rests, prolonged := 0, 0
		var left time.Duration
		long.Rest(func(context.Context, time.Duration) error {
			if rests++; rests > 3 {
				return nil
			}
			now := e.pttl(keys.Sweeper())
			if now > left && left > 0 {
				prolonged++
			}
			time.Sleep(interval * 4 / 10) // over a third of it is over: time to prolong
			if e.mini != nil {
				e.mini.FastForward(interval * 4 / 10)
			}
			left = e.pttl(keys.Sweeper())
			if _, err := e.replica(interval).Sweep(t.Context()); !errors.Is(err, sweeper.ErrNotOurTurn) {
				t.Errorf("meanwhile another one: %v", err)
			}
			return nil
		})
		if r, err := long.Sweep(t.Context()); err != nil || r.Active != 1000 {
			t.Errorf("%+v, %v", r, err)
		}
		if prolonged != 2 {
			t.Errorf("prolonged %d times in three pauses", prolonged)
		}
	})
}

func TestASweepThatLostItsTurnStops(t *testing.T) {
	const interval = time.Second
	onEach(t, func(e *engine) {
		for i := range 1000 {
			e.plant(key(i), failed(e.now()), time.Hour)
		}
		s := e.replica(interval)
		rests := 0
		s.Rest(func(context.Context, time.Duration) error {
			if rests++; rests == 1 { // it was paused past its turn, and another one came
				e.do("SET", keys.Sweeper(), "another", "PX", "100000")
				time.Sleep(interval / 2)
			}
			return nil
		})
		if _, err := s.Sweep(t.Context()); !errors.Is(err, sweeper.ErrNotOurTurn) {
			t.Errorf("error %v", err)
		}
		if rests != 1 {
			t.Errorf("it went on for %d batches", rests)
		}
		if e.do("GET", keys.Sweeper()) != "another" || e.pttl(keys.Sweeper()) < 50*time.Second || len(e.metrics()) != 0 {
			t.Errorf("it meddled: turn of %s for %v, metrics %v", e.do("GET", keys.Sweeper()), e.pttl(keys.Sweeper()),
				e.metrics())
		}
	})
}

func TestATurnThatRedisForgotIsTakenAgain(t *testing.T) {
	onEach(t, func(e *engine) {
		for i := range 300 {
			e.plant(key(i), failed(e.now()), time.Hour)
		}
		s := e.replica(6 * time.Second)
		rests := 0
		s.Rest(func(context.Context, time.Duration) error {
			if rests++; rests == 1 {
				e.do("DEL", keys.Sweeper())
				time.Sleep(2500 * time.Millisecond) // over a third of its turn: time to prolong
			}
			return nil
		})
		if r, err := s.Sweep(t.Context()); err != nil || r.Active != 300 {
			t.Errorf("%+v, %v", r, err)
		}
		if e.do("EXISTS", keys.Sweeper()) != "1" {
			t.Error("it went on without a turn")
		}
	})
}
