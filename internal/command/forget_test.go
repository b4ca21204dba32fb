package command_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/scripts"
)

func (e *engine) forget(ctx context.Context, force bool, settle time.Duration) (printed string, err error) {
	var out strings.Builder
	d := e.deployment()
	d.Settle = settle
	err = d.Forget(ctx, webhook, force, &out)
	return out.String(), err
}

// claim claims the next webhook, as the gateway would.
func (e *engine) claim() scripts.Answer { e.Helper(); return e.claimUnder(e.deployment()) }

// claimUnder does the same under other settings.
func (e *engine) claimUnder(d command.Deployment) scripts.Answer {
	e.Helper()
	call := scripts.Call{
		Metrics: keys.Metrics(), Flushed: keys.Buckets()[0].Flush("test"), Lease: d.LockTTL,
		Classes: []scripts.Class{{
			TTL: d.ResultTTL, DoubtTTL: d.DoubtTTL, MaxAttempts: d.MaxAttempts, StopInDoubt: d.StopInDoubt,
		}},
		Ops: []scripts.Op{scripts.Claim(key, "next", scripts.Question{First: true, Asks: d.Asks})},
	}
	reply, err := call.Run(e.Context(), e.client)
	if err != nil {
		e.Fatal(err)
	}
	return reply.Answers[0]
}

func TestAfterForgetTheNextWebhookExecutes(t *testing.T) {
	onEach(t, func(e *engine) {
		for _, force := range []bool{false, true} {
			for what, f := range found(e.now()) {
				if f.record.State == record.InProgress && !force {
					continue
				}
				e.plant(key, f.record, f.life)
				printed, err := e.forget(t.Context(), force, 0)
				name := "forget.txt"
				if force {
					name = "forget-forced.txt"
				}
				golden(t, name, printed)
				if err != nil || !e.forgotten() {
					t.Errorf("%s: %v; it left %+v", what, err, e.recordOf())
				}
				if life := e.do("PTTL", key); !anHour.MatchString(life) {
					t.Errorf("%s: its PTTL is %s", what, life)
				}
				if a := e.claim(); a.Verdict != scripts.Claimed || a.Attempt != f.record.Attempt+2 {
					t.Errorf("%s: the next webhook is answered %+v", what, a)
				}
			}
		}
		if e.do("EXISTS", keys.Buckets()[0].Flush("command")) != "0" {
			t.Error("it flushed counters")
		}
	})
}

// anHour matches a number of milliseconds that is an hour, or a little less.
var anHour = regexp.MustCompile(`^3(600000|5[0-9]{5})$`)

func (e *engine) forgotten() bool {
	e.Helper()
	r := e.recordOf()
	return r.Forgotten()
}

func TestWhatRunsIsForgottenByForceOnly(t *testing.T) {
	onEach(t, func(e *engine) {
		for _, what := range []string{"running", "crashed"} {
			e.plant(key, found(e.now())[what].record, ttl)
			stood := e.do("GET", key)
			printed, err := e.forget(t.Context(), false, 0)
			if !errors.Is(err, command.ErrRunning) || !strings.Contains(err.Error(), "--force") || printed != "" ||
				e.do("GET", key) != stood {
				t.Errorf("%s: printed %q, error %v", what, printed, err)
			}
		}
	})
}

func TestForgetFindsNothing(t *testing.T) {
	onEach(t, func(e *engine) {
		for _, force := range []bool{false, true} {
			if printed, err := e.forget(t.Context(), force, 0); !errors.Is(err, command.ErrNotFound) ||
				printed != "" || e.do("EXISTS", key) != "0" {
				t.Errorf("printed %q, error %v", printed, err)
			}
		}
	})
}

func TestForgetLeavesWhatIsForeign(t *testing.T) {
	onEach(t, func(e *engine) {
		e.do("SET", key, "rubbish")
		if _, err := e.forget(t.Context(), true, 0); !errors.Is(err, record.ErrForeign) ||
			e.do("GET", key) != "rubbish" {
			t.Errorf("error %v", err)
		}
	})
}

func TestForgetWaitsUntilRedisHasSettled(t *testing.T) {
	t.Parallel()
	const settle = 300 * time.Millisecond
	e := onReal(t) // the embedded store has no history
	e.plant(key, found(e.now())["done"].record, ttl)
	begun := time.Now()
	printed, err := e.forget(t.Context(), false, settle)
	if err != nil || time.Since(begun) < settle || !e.forgotten() {
		t.Errorf("after %v: error %v, it left %+v", time.Since(begun), err, e.recordOf())
	}
	if !strings.Contains(printed, "waiting 300ms") || !strings.Contains(printed, "\nForgotten: dialog d-0001") {
		t.Errorf("printed %q", printed)
	}
}

func TestForgetWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	e := onReal(t)
	e.plant(key, found(e.now())["done"].record, ttl)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := e.forget(ctx, false, 2*time.Minute); time.Since(begun) > time.Minute ||
		!errors.Is(err, context.DeadlineExceeded) || e.recordOf().State != record.Done {
		t.Errorf("after %v: error %v, it left %+v", time.Since(begun), err, e.recordOf())
	}
}

func TestForgetTellsWhatRedisSays(t *testing.T) {
	t.Parallel()
	e := onReal(t)
	e.plant(key, found(e.now())["done"].record, ttl)
	e.do("CONFIG", "SET", "maxmemory", "1")
	if _, err := e.forget(t.Context(), false, 0); err == nil || !strings.Contains(err.Error(), "OOM") ||
		e.recordOf().State != record.Done {
		t.Errorf("full: error %v, it left %+v", err, e.recordOf())
	}
}

func TestARedisThatIsAwayIsAnErrorOfEachCommand(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	e := &engine{T: t, client: redistest.Client(t, server.Addr())}
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, forgetting := e.forget(ctx, false, 0)
	for name, err := range map[string]error{
		"poisoned": e.deployment().Poisoned(ctx, new(strings.Builder)),
		"resolve":  e.deployment().Resolve(ctx, webhook, found(time.Now())["done"].record.Result, new(strings.Builder)),
		"stats":    command.Stats(ctx, e.client, keys, "", new(strings.Builder), false),
		"inspect":  e.deployment().Inspect(ctx, webhook, new(strings.Builder)),
		"forget":   forgetting,
	} {
		if err == nil || errors.Is(err, command.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
