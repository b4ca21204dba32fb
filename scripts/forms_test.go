package scripts_test

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// TestTheFirstFormIsUnderstoodForEver runs the golden bytes of the first released form through today's script.
func TestTheFirstFormIsUnderstoodForEver(t *testing.T) {
	const form1 = "../internal/record/testdata/form-1"
	onEach(t, func(t *testing.T, e *engine) {
		e.maxAttempts = 4
		for name, want := range map[string]scripts.Answer{
			// its lease is over
			"progress":       {Verdict: scripts.Claimed, Attempt: 2, Doubt: true, Failures: 1, Before: "expired"},
			"progress-again": {Verdict: scripts.Claimed, Attempt: 4, Doubt: true, Failures: 3, Before: "expired"},
			"done":           {Verdict: scripts.Done},
			"done-again":     {Verdict: scripts.Done},
			"done-text":      {Verdict: scripts.Done},
			"done-headers":   {Verdict: scripts.Done},
			"done-dash":      {Verdict: scripts.Done},

			"done-json-headers": {Verdict: scripts.Done},
			"sealed":            {Verdict: scripts.Done},
			"failed":            {Verdict: scripts.Claimed, Attempt: 4, Doubt: true, Before: "timeout"},
			"failed-again":      {Verdict: scripts.Claimed, Attempt: 4, Before: "error", Failures: 2},
			"expired":           {Verdict: scripts.Poisoned},
			"abandoned":         {Verdict: scripts.Claimed, Attempt: 1, Before: "unanswered"},
			"forgotten":         {Verdict: scripts.Claimed, Attempt: 5, Before: "forgotten"},
		} {
			value, err := os.ReadFile(filepath.Join(form1, name))
			if err != nil {
				t.Fatal(err)
			}
			e.do("SET", key, string(value), "PX", "500000")
			got := e.run(claimOp(key, "next", true, record.Digest{}, false))
			if want.Verdict != scripts.Claimed {
				want.Record = value
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
		if files, err := filepath.Glob(filepath.Join(form1, "*")); err != nil || len(files) != 14 {
			t.Errorf("%d golden files, %v", len(files), err)
		}
	})
}

func TestAnotherFormIsNamedAndLeftAsItIs(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		for value, form := range map[string]string{"D2 1 t 1 1\n{}": "2", "P17 1 t\n": "17", "rubbish": "", "D1 x\n": "1"} {
			e.do("SET", key, value, "PX", "500000")
			for _, op := range []scripts.Op{
				claimOp(key, "next", true, record.Digest{}, false), lookOp(key, true), failOp(key, 1, "next", "error", false),
				storeOp(key, 1, "next", record.Digest{}, result), renewOp(key, 1, "next", record.Digest{}),
			} {
				if got := e.run(op); got.Verdict != scripts.Foreign || got.Text != form {
					t.Errorf("%q: %+v", value, got)
				}
			}
			if got := e.do("GET", key); got != value {
				t.Errorf("%q became %q", value, got)
			}
		}
	})
}

func TestACallOfAnotherFormIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		call := e.client.B().Eval().Script(readScript(t)).Numkeys(2).Key("cognigy:metrics", "cognigy:flush:test").
			Arg("2", "0", "60000", "3600000", "0", "0", "3600000", "0", "0").Build()
		if err := e.client.Do(context.Background(), call).Error(); err == nil || !strings.Contains(err.Error(), "form 1") {
			t.Errorf("error %v", err)
		}
	})
}

func readScript(t testing.TB) string {
	t.Helper()
	source, err := os.ReadFile("idempotency.lua")
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}
