package sweeper_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/record"
)

func TestOrphansGetATTLAndStayAsTheyAre(t *testing.T) {
	onEach(t, func(e *engine) {
		values := map[string]string{}
		for _, r := range records(e.now()) {
			k := key(len(values))
			values[k] = e.plant(k, r, 0)
		}

		if r := e.sweep(); r.OrphansCleared != len(values) || r.Active != len(values) || r.Foreign != 0 {
			t.Errorf("reported %+v", r)
		}
		for k, value := range values {
			want := resultTTL
			if r, err := record.Parse([]byte(value)); err != nil || r.State == record.InProgress || r.Doubt || r.Verdict != "" {
				want = doubtTTL // it must not be executed again because it was forgotten
			}
			if ttl := e.pttl(k); ttl <= want-time.Minute || ttl > want {
				t.Errorf("an orphan's TTL is %v, want %v: %.60q", ttl, want, value)
			}
			if e.do("GET", k) != value {
				t.Errorf("an orphan was changed: %.60q", value)
			}
		}
		if r := e.sweep(); r.OrphansCleared != 0 || r.Active != len(values) {
			t.Errorf("the next sweep reported %+v", r)
		}
		e.do("PERSIST", key(0))
		e.sweep()
		if got := e.metrics()["orphans_cleared"]; got != strconv.Itoa(len(values)+1) {
			t.Errorf("orphans_cleared is %s after %d and one more", got, len(values))
		}
	})
}

func TestARecordWithATTLIsNotTouched(t *testing.T) {
	onEach(t, func(e *engine) {
		values, ttls := map[string]string{}, map[string]time.Duration{}
		for _, r := range records(e.now()) {
			k := key(len(values))
			values[k] = e.plant(k, r, time.Duration(len(values)+1)*100*time.Minute)
			ttls[k] = e.pttl(k)
		}
		e.sweep()
		for k, value := range values {
			if ttl := e.pttl(k); ttl > ttls[k] || ttl < ttls[k]-time.Minute {
				t.Errorf("its TTL was %v and is %v: %.60q", ttls[k], ttl, value)
			}
			if e.do("GET", k) != value {
				t.Errorf("it was changed: %.60q", value)
			}
		}
		if m := e.metrics(); m["orphans_cleared"] != "" {
			t.Errorf("counted %v", m)
		}
	})
}

func TestAForeignValueIsNotTouchedAndTold(t *testing.T) {
	onEach(t, func(e *engine) {
		for what, set := range foreign(key(1)) {
			e.do("DEL", key(1))
			e.do(set...)
			stood := e.do("TYPE", key(1)) + e.content(key(1))
			if r := e.sweep(); r.Foreign != 1 || r.ForeignKey != key(1) || r.Active != 0 || r.OrphansCleared != 0 {
				t.Errorf("%s: reported %+v", what, r)
			}
			if e.do("TYPE", key(1))+e.content(key(1)) != stood || e.pttl(key(1)) != endless {
				t.Errorf("%s was changed", what)
			}
		}
		misnamed := "shop:fp:" + strings.Repeat("z", 64)
		e.plant(misnamed, running(e.now()), 0)
		if r := e.sweep(); r.Foreign != 2 || r.Active != 0 || e.pttl(misnamed) != endless {
			t.Errorf("a record at a key that is no fingerprint's: reported %+v, TTL %v", r, e.pttl(misnamed))
		}
	})
}
