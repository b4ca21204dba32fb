package sweeper_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/sweeper"
)

func TestEveryBatchIsFollowedByItsPause(t *testing.T) {
	onEach(t, func(e *engine) {
		for i := range 1000 {
			e.plant(key(i), done(e.now(), small), time.Hour)
		}
		s := e.replica(time.Minute)
		var pauses int
		var paused time.Duration
		s.Rest(func(_ context.Context, d time.Duration) error {
			pauses++
			paused += d
			return nil
		})
		r, err := s.Sweep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if pauses < 11 { // one behind a SCAN, one behind each hundred
			t.Errorf("%d pauses for 1000 records", pauses)
		}
		if r.Busy <= 0 || r.Busy > r.Took || paused != 4*r.Busy {
			t.Errorf("busy for %v of %v, paused for %v", r.Busy, r.Took, paused)
		}
	})
}

func TestASweepAsksNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	const records = 300
	e := onReal(t)
	for i := range records {
		result := small
		if i < 50 {
			result = large
		}
		e.plant(key(i), done(e.now(), result), time.Hour)
	}
	e.do("CONFIG", "RESETSTAT")
	if r := e.sweep(); r.Active != records {
		t.Fatalf("reported %+v", r)
	}
	calls := e.info("commandstats")
	for command, want := range map[string]string{"set": "1", "time": "1", "getrange": strconv.Itoa(records),
		"pttl": strconv.Itoa(records), "pexpire": "", "hset": "1"} {
		_, stat, _ := strings.Cut(calls["cmdstat_"+command], "calls=")
		if n, _, _ := strings.Cut(stat, ","); n != want {
			t.Errorf("%s was called %q times, want %q", command, n, want)
		}
	}
	if n, err := strconv.Atoi(e.info("stats")["total_net_output_bytes"]); err != nil || n > records*1024 {
		t.Errorf("%d bytes were read of 50 MiB of results, error %v", n, err)
	}
}

func TestEverySweepIsOneLine(t *testing.T) {
	onEach(t, func(e *engine) {
		e.plant(key(1), running(e.now()), 0)
		e.do("SET", key(2), "rubbish")
		stop := e.run(e.replica(time.Hour))
		eventually(t, func() bool { return len(e.logged.lines("swept")) == 1 })
		stop()
		line := e.logged.lines("swept")[0]
		for attribute, want := range map[string]any{
			"level": "WARN", "active_fingerprints": 1., "in_progress": 1., "overdue": 0., "orphans_cleared": 1.,
			"detection_rate": 0., "foreign": 1., "foreign_key": key(2),
		} {
			if line[attribute] != want {
				t.Errorf("%s is %v, want %v", attribute, line[attribute], want)
			}
		}
		if n := strings.Count(e.logged.text.String(), "\n"); n != 1 {
			t.Errorf("%d lines", n)
		}
		e.do("DEL", key(2), keys.Sweeper())
		stop = e.run(e.replica(time.Hour))
		eventually(t, func() bool { return len(e.logged.lines("swept")) == 2 })
		stop()
		if line := e.logged.lines("swept")[1]; line["level"] != "INFO" || line["foreign"] != nil {
			t.Errorf("without a foreign value: %v", line)
		}
	})
}

func TestARedisThatIsAwayIsAWarningAndTriedAgain(t *testing.T) {
	t.Parallel()
	e := onReal(t)
	e.server.Kill()
	s := sweeper.New(e.client, sweeper.Options{
		Keys: keys, Interval: 50 * time.Millisecond, ResultTTL: resultTTL, ExecutionTimeout: timeout,
		Timeout: time.Second,
		Log:     slog.New(slog.NewJSONHandler(e.logged, nil)),
	})
	stop := e.run(s)
	eventually(t, func() bool { return len(e.logged.lines("a sweep broke off")) >= 2 })
	if line := e.logged.lines("a sweep broke off")[0]; line["level"] != "WARN" || line["error"] == "" {
		t.Errorf("logged %v", line)
	}
	e.server.Restart()
	eventually(t, func() bool { return len(e.logged.lines("swept")) >= 2 })
	stop()
}

func TestAStoppedRedisHoldsNoSweepPastItsTimeout(t *testing.T) {
	t.Parallel()
	e := onReal(t)
	for i := range 300 {
		e.plant(key(i), done(e.now(), small), time.Hour)
	}
	s := sweeper.New(e.client, sweeper.Options{
		Keys: keys, Interval: time.Minute, ResultTTL: resultTTL, ExecutionTimeout: timeout, Timeout: time.Second,
		Log: slog.New(slog.DiscardHandler),
	})
	batches := 0
	s.Rest(func(context.Context, time.Duration) error {
		if batches++; batches == 2 {
			e.server.Pause()
		}
		return nil
	})
	begun := time.Now()
	r, err := s.Sweep(t.Context())
	e.server.Resume()
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 30*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	if r.Active == 0 || r.Active == 300 {
		t.Errorf("reported %+v", r)
	}
	if m := e.metrics(); len(m) != 0 {
		t.Errorf("half a sweep wrote gauges: %v", m)
	}
}

func TestASweepEndsWithItsContext(t *testing.T) {
	onEach(t, func(e *engine) {
		for i := range 300 {
			e.plant(key(i), done(e.now(), small), time.Hour)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := e.replica(time.Minute)
		s.Rest(func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() })
		if _, err := s.Sweep(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestRunEndsWithItsContextAndCallsThatNoTrouble(t *testing.T) {
	onEach(t, func(e *engine) {
		for i := range 300 {
			e.plant(key(i), done(e.now(), small), time.Hour)
		}
		s := e.replica(time.Minute)
		sweeping := make(chan struct{}, 1000)
		s.Rest(func(ctx context.Context, _ time.Duration) error {
			sweeping <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		stop := e.run(s)
		<-sweeping
		stop()
		if logged := e.logged.text.String(); logged != "" {
			t.Errorf("logged %s", logged)
		}
	})
}

func TestInAClusterAllPrimariesAreSweptAndNoReplicas(t *testing.T) {
	t.Parallel()
	const records = 60
	cluster := redistest.StartCluster(t, 3, 1)
	inCluster := redis.NewClusterKeys("shop", 16)
	client := cluster.Client()
	now := time.Now()
	for i := range records {
		key := inCluster.Record(fingerprint.Of([]byte("d"), []byte("n"), int64(i)))
		redistest.Do(t, client, "SET", key, string(record.Append(nil, done(now, small))))
	}
	for i, b := range inCluster.Buckets() {
		redistest.Do(t, client, "HSET", b.Metrics(), "total_requests", "4", "duplicates", strconv.Itoa(i%2*2))
	}
	s := sweeper.New(client, sweeper.Options{Keys: inCluster, Interval: time.Minute, ResultTTL: resultTTL,
		ExecutionTimeout: timeout, Log: slog.New(slog.DiscardHandler)})
	report, err := s.Sweep(t.Context())
	if err != nil || report.Active != records || report.OrphansCleared != records || report.DetectionRate != 0.25 {
		t.Errorf("%+v, %v", report, err)
	}
	metrics, err := redis.Metrics(t.Context(), client, inCluster)
	if err != nil || metrics["active_fingerprints"] != strconv.Itoa(records) ||
		metrics["orphans_cleared"] != strconv.Itoa(records) {
		t.Errorf("%v, %v", metrics, err)
	}
}
