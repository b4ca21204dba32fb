package command_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/redis"
)

// busy is the metrics hash of a busy day.
var busy = map[string]string{
	"total_requests": "1208", "duplicates": "1100", "replayed": "1000", "replayed_local": "900", "waited": "90",
	"still_processing": "10", "malformed": "7", "unauthorized": "8", "mismatches": "2", "late_answers": "4",
	"unavailable": "5", "refused": "3", "poisoned": "1", "doubtful": "1", "reconciled": "1", "rejected": "2",
	"executed": "103", "takeovers": "1", "stored": "99", "failed": "2", "lost_stores": "1", "lost_leases": "3",
	"settlings": "2", "restored": "12", "history": "8f3c2a519bd1a3a0a4d6c7e8f90123456789abcd", "met_at": "1785306984123",
	"settled_at": "1785306987123", "settle": "3000",
	"active_fingerprints": "2500000", "in_progress": "17", "overdue": "1", "undecided": "2",
	"orphans_cleared": "6",
	"detection_rate":  "0.9106", "swept_at": "1785310584", "breaker_open_until": "1785310000",
}

func (e *engine) stats(asJSON bool) string {
	e.Helper()
	var out strings.Builder
	if err := command.Stats(e.Context(), e.client, keys, "", &out, asJSON); err != nil {
		e.Fatal(err)
	}
	return out.String()
}

func (e *engine) count(metrics map[string]string) {
	e.Helper()
	for field, value := range metrics {
		e.do("HSET", keys.Metrics(), field, value)
	}
}

func TestStats(t *testing.T) {
	onEach(t, func(e *engine) {
		e.count(map[string]string{"executed": "0"})
		golden(e.T, "stats-nothing.txt", e.stats(false))
		golden(e.T, "stats-nothing.json", e.stats(true))
		e.count(busy)
		golden(e.T, "stats.txt", e.stats(false))
		golden(e.T, "stats.json", e.stats(true))
		e.count(map[string]string{
			"from_a_later_version": "42", "two words": "\x1b[31mred", "<markup>": "<&>", "executed": "rubbish", "waited": "",
			"swept_at": "x", "met_at": "x",
		})
		golden(e.T, "stats-odd.txt", e.stats(false))
		golden(e.T, "stats-odd.json", e.stats(true))
	})
}

func TestStatsOfNoDeploymentAreAnErrorThatNamesThePrefix(t *testing.T) {
	onEach(t, func(e *engine) {
		e.count(busy)
		for _, asJSON := range []bool{false, true} {
			var out strings.Builder
			err := command.Stats(e.Context(), e.client, redis.NewKeys("other"), "", &out, asJSON)
			if !errors.Is(err, command.ErrNoDeployment) || !strings.Contains(err.Error(), `KEY_PREFIX "other"`) ||
				out.Len() > 0 {
				t.Errorf("error %v, it prints %q", err, out.String())
			}
		}
	})
}

func TestCommandsThatFindNothingTellOfAPrefixThatNoGatewayHas(t *testing.T) {
	onEach(t, func(e *engine) {
		e.count(busy)
		d := command.Deployment{Client: e.client, Keys: redis.NewKeys("other")}
		w := command.Webhook{Dialog: "d", Node: "n", Sequence: 1}
		aDayAgo := func(now time.Time) time.Time { return now.Add(-24 * time.Hour) }
		var out strings.Builder
		for name, err := range map[string]error{
			"poisoned":          d.Poisoned(e.Context(), &out),
			"doubtful":          d.Doubtful(e.Context(), &out),
			"forget --doubtful": d.ForgetDoubtful(e.Context(), aDayAgo, true, strings.NewReader(""), &out),
			"inspect":           d.Inspect(e.Context(), w, &out),
		} {
			if !errors.Is(err, command.ErrNoDeployment) || !strings.Contains(err.Error(), `KEY_PREFIX "other"`) {
				t.Errorf("%s: error %v", name, err)
			}
		}
		if out.Len() > 0 {
			t.Errorf("it prints %q", out.String())
		}
	})
}

func TestStatsTellOfAnOpenBreaker(t *testing.T) {
	onEach(t, func(e *engine) {
		e.count(map[string]string{"breaker_open_until": "99999999999"})
		if text := e.stats(false); !strings.Contains(text, "Backend: CIRCUIT BREAKER OPEN: a replica sends it no "+
			"requests until") {
			t.Errorf("it prints\n%s", text)
		}
	})
}

func TestStatsTellOfAPauseThatTheBackendAskedFor(t *testing.T) {
	onEach(t, func(e *engine) {
		e.count(map[string]string{"pause_until": "99999999999"})
		if text := e.stats(false); !strings.Contains(text, "Backend: no circuit breaker has opened; "+
			"IT ASKED FOR A PAUSE: a replica sends it no requests until") {
			t.Errorf("it prints\n%s", text)
		}
		e.count(map[string]string{"pause_until": "1785310000"})
		if text := e.stats(false); !strings.Contains(text, "Backend: no circuit breaker has opened\n") {
			t.Errorf("after the pause it prints\n%s", text)
		}
	})
}

func TestStatsAsJSONHasEveryNumberAsANumber(t *testing.T) {
	onEach(t, func(e *engine) {
		e.count(map[string]string{
			"executed": "9007199254740993", "detection_rate": "0.0000", "history": "1234567890123456789012345678901234567890",
			"a": "-3", "b": "007", "c": "1e5", "d": "NaN", "e": "1.", "f": "-", "g": "0x10", "h": " 1", "i": "1\n",
		})
		decoder := json.NewDecoder(strings.NewReader(e.stats(true)))
		decoder.UseNumber()
		var got map[string]any
		if err := decoder.Decode(&got); err != nil {
			t.Fatal(err)
		}
		for field, want := range map[string]any{
			"executed": json.Number("9007199254740993"), "detection_rate": json.Number("0.0000"), "stored": json.Number("0"),
			"history": "1234567890123456789012345678901234567890",
			"a":       json.Number("-3"), "b": "007", "c": "1e5", "d": "NaN", "e": "1.", "f": "-", "g": "0x10", "h": " 1",
			"i": "1\n",
		} {
			if got[field] != want {
				t.Errorf("%s is %#v, want %#v", field, got[field], want)
			}
		}
	})
}

func TestStatsSayWhatCouldNotBeReadOrWritten(t *testing.T) {
	onEach(t, func(e *engine) {
		e.count(busy)
		for _, asJSON := range []bool{false, true} {
			if err := command.Stats(e.Context(), e.client, keys, "", full{}, asJSON); !errors.Is(err, errFull) {
				t.Errorf("a full disk: %v", err)
			}
		}
		e.do("DEL", keys.Metrics())
		e.do("SET", keys.Metrics(), "rubbish")
		err := command.Stats(e.Context(), e.client, keys, "", new(strings.Builder), false)
		if err == nil || !strings.Contains(err.Error(), keys.Metrics()) || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("error %v", err)
		}
	})
}

// full is a writer that accepts no byte.
type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }
