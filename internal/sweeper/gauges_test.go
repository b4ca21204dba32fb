package sweeper_test

import (
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/sweeper"
)

func TestGaugesAreExact(t *testing.T) {
	onEach(t, func(e *engine) {
		now := e.now()
		i := 0
		plant := func(n int, r record.Record) {
			for range n {
				i++
				e.plant(key(i), r, time.Hour)
			}
		}
		plant(700, done(now, small)) // some batches
		plant(5, failed(now))
		plant(11, running(now))
		plant(3, running(now.Add(-timeout+2*time.Minute)))
		plant(7, running(now.Add(-timeout-time.Second)))
		plant(3, records(now)["with a verdict"])
		for _, set := range foreign(key(0)) {
			e.do("DEL", key(0))
			e.do(set...)
		}
		e.do("SET", "shop:fp:no fingerprint", string(record.Append(nil, running(now))))
		e.do("SET", "other:fp:"+strings.Repeat("ab", 32), string(record.Append(nil, running(now))))
		e.do("SET", keys.Buckets()[0].Flush("process"), "3")
		e.do("HSET", keys.Metrics(), "total_requests", "3000", "duplicates", "1000", "history", "abc", "overdue", "99")

		r := e.sweep()

		if r.Active != 729 || r.InProgress != 21 || r.Overdue != 7 || r.Undecided != 3 || r.OrphansCleared != 0 ||
			r.Foreign != 2 {
			t.Errorf("reported %+v", r)
		}
		m := e.metrics()
		sweptAt, _ := strconv.ParseInt(m["swept_at"], 10, 64)
		if sweptAt < now.Unix() || sweptAt > e.now().Unix() || r.SweptAt.Unix() != sweptAt {
			t.Errorf("swept_at %s, reported %v; it was between %d and now", m["swept_at"], r.SweptAt, now.Unix())
		}
		delete(m, "swept_at")
		want := map[string]string{
			"active_fingerprints": "729", "in_progress": "21", "overdue": "7", "undecided": "3",
			"detection_rate": "0.3333", "total_requests": "3000", "duplicates": "1000", "history": "abc",
		}
		if !maps.Equal(m, want) {
			t.Errorf("metrics %v\nwant    %v", m, want)
		}
	})
}

func TestTimeIsRedisOwn(t *testing.T) {
	mini, url := redistest.Embedded(t)
	e := &engine{T: t, mini: mini, client: redistest.Client(t, strings.TrimPrefix(url, "redis://")), logged: new(log)}
	now := time.Date(2001, 2, 3, 4, 5, 6, 900e6, time.UTC)
	mini.SetTime(now)
	e.plant(key(1), running(now.Add(-timeout-400*time.Millisecond)), time.Hour)
	e.plant(key(2), running(now.Add(-timeout+time.Minute)), time.Hour)
	if r := e.sweep(); r.Overdue != 1 || r.SweptAt.Before(now) || r.SweptAt.After(now.Add(time.Minute)) {
		t.Errorf("reported %+v", r)
	}
}

func TestARecordThatEndsBeforeItIsLookedAtIsNotCounted(t *testing.T) {
	onEach(t, func(e *engine) {
		e.plant(key(1), failed(e.now()), time.Hour)
		e.plant(key(2), failed(e.now()), time.Hour)
		between := &meddler{Client: e.client, before: "GETRANGE", do: func() { e.do("DEL", key(1)) }}
		r, err := sweeper.New(between, sweeper.Options{Keys: keys, Interval: time.Minute, ResultTTL: resultTTL,
			ExecutionTimeout: timeout, Log: slog.New(slog.DiscardHandler)}).Sweep(t.Context())
		if err != nil || !between.done || r.Active != 1 || r.Foreign != 0 {
			t.Errorf("meddled: %v; reported %+v, %v", between.done, r, err)
		}
	})
}

func TestGaugesOfAnEmptyRedisAreZero(t *testing.T) {
	onEach(t, func(e *engine) {
		e.sweep()
		m := e.metrics()
		delete(m, "swept_at")
		if want := (map[string]string{"active_fingerprints": "0", "in_progress": "0", "overdue": "0",
			"undecided": "0", "detection_rate": "0.0000"}); !maps.Equal(m, want) {
			t.Errorf("metrics %v", m)
		}
	})
}

func TestTheDetectionRateIsBoundedAndReadsNoRubbish(t *testing.T) {
	onEach(t, func(e *engine) {
		for _, c := range []struct{ duplicates, requests, want string }{
			{"0", "10", "0.0000"}, {"5", "10", "0.5000"}, {"2", "3", "0.6667"}, {"10", "10", "1.0000"},
			{"3", "2", "1.0000"}, // the script counts a duplicate a moment before its request is
			{"3", "0", "0.0000"}, {"rubbish", "10", "0.0000"}, {"3", "rubbish", "0.0000"},
		} {
			e.do("HSET", keys.Metrics(), "duplicates", c.duplicates, "total_requests", c.requests)
			e.sweep()
			if got := e.metrics()["detection_rate"]; got != c.want {
				t.Errorf("%s of %s: %s, want %s", c.duplicates, c.requests, got, c.want)
			}
		}
	})
}

func TestEachTenantHasItsGaugesAndItsLimits(t *testing.T) {
	onEach(t, func(e *engine) {
		f := fingerprint.Fingerprint{7}
		now := e.now()
		progress := record.Record{
			State: record.InProgress, Attempt: 1, Token: "t", Started: now.Add(-10 * time.Minute), Deadline: now,
			Lease: time.Minute,
		}
		acmes, betas := keys.RecordOf("acme", f), keys.RecordOf("beta", f)
		e.plant(acmes, progress, time.Hour)
		e.plant(betas, progress, time.Hour)
		e.plant(keys.RecordOf("beta", fingerprint.Fingerprint{9}), records(now)["with a verdict"], time.Hour)
		orphan := keys.RecordOf("acme", fingerprint.Fingerprint{8})
		e.plant(orphan, done(now, small), 0)
		e.do("HSET", keys.Metrics(), "acme/total_requests", "4", "acme/duplicates", "1")
		s := e.replica(time.Minute)
		s.Tenants = func() map[string]sweeper.Limits {
			return map[string]sweeper.Limits{
				"acme":  {ResultTTL: 90 * time.Hour, DoubtTTL: 99 * time.Hour, ExecutionTimeout: time.Hour},
				"quiet": {ResultTTL: time.Hour, DoubtTTL: time.Hour, ExecutionTimeout: time.Hour},
			}
		}
		if _, err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		for field, want := range map[string]string{
			"active_fingerprints": "4", "in_progress": "2", "acme/active_fingerprints": "2", "acme/in_progress": "1",
			"acme/overdue": "0", "acme/detection_rate": "0.2500", "beta/active_fingerprints": "2", "quiet/overdue": "0",
			"undecided": "1", "beta/undecided": "1", "acme/undecided": "0",
		} {
			if got := e.do("HGET", keys.Metrics(), field); got != want {
				t.Errorf("%s is %q, want %s", field, got, want)
			}
		}
		if left, _ := strconv.Atoi(e.do("PTTL", orphan)); left < int(89*time.Hour/time.Millisecond) {
			t.Errorf("an orphan of a tenant lives for %d ms", left)
		}
	})
}
