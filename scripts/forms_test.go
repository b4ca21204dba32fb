package scripts_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// TestTheFirstFormIsUnderstoodForEver runs the golden bytes of the first released form through today's script.
func TestTheFirstFormIsUnderstoodForEver(t *testing.T) {
	const form1 = "../internal/record/testdata/form-1"
	onEach(t, func(t *testing.T, e *engine) {
		for name, want := range map[string]scripts.Answer{
			"progress":       {Verdict: scripts.Claimed, Attempt: 2}, // its lease is over
			"progress-again": {Verdict: scripts.Claimed, Attempt: 4},
			"done":           {Verdict: scripts.Done},
			"done-text":      {Verdict: scripts.Done},
			"done-headers":   {Verdict: scripts.Done},
			"failed":         {Verdict: scripts.Claimed, Attempt: 4, Before: "timeout"},
			"failed-again":   {Verdict: scripts.Claimed, Attempt: 4, Before: "timeout"},
			"abandoned":      {Verdict: scripts.Claimed, Attempt: 1, Before: "unanswered"},
			"forgotten":      {Verdict: scripts.Claimed, Attempt: 5, Before: "forgotten"},
		} {
			value, err := os.ReadFile(filepath.Join(form1, name))
			if err != nil {
				t.Fatal(err)
			}
			e.do("SET", key, string(value), "PX", "500000")
			got := e.run(scripts.Claim(key, "next", true, record.Digest{}, false))
			if want.Verdict == scripts.Done && string(got.Record) != string(value) {
				t.Errorf("%s: replayed as %q", name, got.Record)
			}
			if got.Verdict != want.Verdict || got.Attempt != want.Attempt || got.Before != want.Before {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
		if files, err := filepath.Glob(filepath.Join(form1, "*")); err != nil || len(files) != 9 {
			t.Errorf("%d golden files, %v", len(files), err)
		}
	})
}

func TestAnotherFormIsNamedAndLeftAsItIs(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		for value, form := range map[string]string{"D2 1 t 1 1\n{}": "2", "P17 1 t\n": "17", "rubbish": "", "D1 x\n": "1"} {
			e.do("SET", key, value, "PX", "500000")
			for _, op := range []scripts.Op{
				scripts.Claim(key, "next", true, record.Digest{}, false), scripts.Look(key, true), scripts.Fail(key, 1, "next", "error"),
				scripts.Store(key, 1, "next", record.Digest{}, result, ttl), scripts.Renew(key, 1, "next", record.Digest{}),
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
		source, err := os.ReadFile("idempotency.lua")
		if err != nil {
			t.Fatal(err)
		}
		call := e.client.B().Eval().Script(string(source)).Numkeys(2).Key("cognigy:metrics", "cognigy:flush:test").
			Arg("2", "0", "60000", "3600000", "0", "0", "0").Build()
		if err := e.client.Do(context.Background(), call).Error(); err == nil || !strings.Contains(err.Error(), "form 1") {
			t.Errorf("error %v", err)
		}
	})
}
