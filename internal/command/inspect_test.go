package command_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
)

func (e *engine) inspect() string {
	e.Helper()
	var out strings.Builder
	if err := e.deployment().Inspect(e.Context(), webhook, &out); err != nil {
		e.Fatal(err)
	}
	return out.String()
}

var secret = record.Result{Status: 201, ContentType: "text/plain; charset=utf-8", Body: bytes.Repeat([]byte("secret\n"),
	100)}

// found is the record that a person inspects, and how long Redis still keeps it (0: for ever).
func found(now time.Time) map[string]struct {
	record record.Record
	life   time.Duration
} {
	const replica = "gateway-5d9f/1"
	ms := func(ago time.Duration) int64 { return now.Add(-ago).UnixMilli() }
	crash := fmt.Sprintf("1,%d,%d,expired,gateway-x/7", ms(75*time.Second), ms(15*time.Second))
	several := crash + fmt.Sprintf(";2,%d,%d,done,gateway-x/8;3,%d,%d,forgotten,-", ms(8*time.Second), ms(8*time.Second),
		ms(7*time.Second), ms(7*time.Second))
	running := record.Record{State: record.InProgress, Attempt: 2, Token: replica + "~HOLDER~1", Doubt: true,
		Failures: 1, Past: crash, Deadline: now.Add(48 * time.Second), Lease: lease,
		Started: now.Add(-12 * time.Second)}
	crashed, stepped := running, running
	crashed.Deadline = now.Add(-3 * time.Second)
	stepped.Deadline = now.Add(time.Hour)
	done := record.Record{State: record.Done, Attempt: 1, Token: replica + "~HOLDER~1",
		Stored: now.Add(-90600 * time.Millisecond), Ends: now.Add(ttl), Digest: record.Digest{1, 2, 3},
		Result: secret}
	failed := record.Record{State: record.Failed, Attempt: 3, Token: replica + "~HOLDER~1",
		Started: now.Add(-6 * time.Second), FailedAt: now.Add(-250 * time.Millisecond), Reason: "panic",
		Doubt: true, Failures: 1, Past: several}
	doubtful := failed
	doubtful.Verdict, doubtful.Reason, doubtful.Failures = record.Doubtful, "error", 0
	poisoned := failed
	poisoned.Verdict = record.Poisoned
	refused, sealed := done, done
	refused.Result.Status = 409
	sealed.State, sealed.KeyID = record.Sealed, "k7"
	resolved := refused
	resolved.Token = record.Person
	forgotten := record.Record{State: record.Failed, Attempt: 4, Token: record.Person,
		FailedAt: now.Add(-48 * time.Hour), Reason: "forgotten"}
	return map[string]struct {
		record record.Record
		life   time.Duration
	}{
		"running": {
			running, 59 * time.Minute}, "crashed": {crashed, 59 * time.Minute}, "stepped": {stepped,
			59 * time.Minute,
		},
		"done": {
			done, 58*time.Minute + 30*time.Second}, "failed": {failed, time.Hour}, "forgotten": {forgotten,
			time.Hour,
		},
		"orphan": {
			failed, 0}, "doubtful": {doubtful, time.Hour}, "poisoned": {poisoned, time.Hour}, "refused": {refused,
			time.Hour,
		},
		"sealed": {sealed, time.Hour}, "resolved": {resolved, time.Hour},
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	e := onMini(t)
	now := time.Date(2026, 7, 29, 6, 36, 24, 5e6, time.UTC)
	e.mini.SetTime(now)
	for what, f := range found(now) {
		e.plant(key, f.record, f.life)
		golden(t, "inspect-"+what+".txt", e.inspect())
	}
}

// TestInspectOnRealRedis compares the same pages, apart from times, which come from Redis' clock.
func TestInspectOnRealRedis(t *testing.T) {
	t.Parallel()
	e := onReal(t)
	for what, f := range found(e.now()) {
		e.plant(key, f.record, f.life)
		page, err := os.ReadFile(filepath.Join("testdata", "inspect-"+what+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := masked(e.inspect()), masked(string(page)); got != want {
			t.Errorf("%s: it prints\n%s\nwant\n%s", what, got, want)
		}
	}
}

var times = regexp.MustCompile(`[0-9]{4}-[0-9-]+ [0-9:]+ UTC|\b[0-9][0-9.hm]*m?s\b`)

func masked(page string) string { return times.ReplaceAllString(page, "#") }

func TestInspectShowsNoPayload(t *testing.T) {
	onEach(t, func(e *engine) {
		e.plant(key, found(e.now())["done"].record, ttl)
		if page := e.inspect(); strings.Contains(page, "secret") || !strings.Contains(page, "700 bytes") {
			t.Errorf("it prints\n%s", page)
		}
	})
}

func TestInspectSaysWhatIsForeign(t *testing.T) {
	onEach(t, func(e *engine) {
		for _, set := range [][]string{
			{
				"HSET", key, "a", "secret"}, {"RPUSH", key, "secret"}, {"SET", key, "secret"}, {"SET", key,
				""}, {"SET", key, "X1 1 secret 1 1 1\n"},
		} {
			e.do("DEL", key)
			e.do(set...)
			kind := e.do("TYPE", key)
			page := e.inspect()
			if !strings.Contains(page, "foreign: a "+kind) || strings.Contains(page, "secret") ||
				!regexp.MustCompile(`(?m)^ends +never$`).MatchString(page) {
				t.Errorf("%q: it prints\n%s", set, page)
			}
		}
	})
}

func TestInspectFindsNothing(t *testing.T) {
	onEach(t, func(e *engine) {
		var out strings.Builder
		err := e.deployment().Inspect(e.Context(),
			command.Webhook{Dialog: dialog, Node: node, Sequence: sequence + 1}, &out)
		if !errors.Is(err, command.ErrNotFound) || out.Len() > 0 {
			t.Errorf("error %v, printed %q", err, &out)
		}
		if want := "no record of dialog d-0001, node n-0001, sequence 8 (cognigy:fp:"; err != nil &&
			!strings.HasPrefix(err.Error(), want) {
			t.Errorf("it says %q", err)
		}
	})
}

func TestInspectNamesTheKeyWhereItIsNotTheFingerprint(t *testing.T) {
	onEach(t, func(e *engine) {
		shop := redis.NewKeys("shop")
		name := fingerprint.Of([]byte(dialog), []byte(node), sequence)
		e.plant(shop.Record(name), found(e.now())["failed"].record, ttl)
		var out strings.Builder
		d := e.deployment()
		d.Keys = shop
		if err := d.Inspect(e.Context(), webhook, &out); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"fingerprint    " + name.String() + "\n", "key            " + shop.Record(name) +
			"\n"} {
			if !strings.Contains(out.String(), line) {
				t.Errorf("it has no line %q:\n%s", line, &out)
			}
		}
	})
}

func TestOddTextIsQuoted(t *testing.T) {
	t.Parallel()
	e := onMini(t)
	for id, want := range map[string]string{
		"d-0001":         `dialog d-0001, `,
		"a:b/c_d.e@f":    `dialog a:b/c_d.e@f, `,
		"ünïcode 節点":     `dialog "ünïcode 節点", `,
		"節点":             `dialog 節点, `,
		"":               `dialog "", `,
		"a b":            `dialog "a b", `,
		"a,b":            `dialog "a,b", `,
		`a"b\`:           `dialog "a\"b\\", `,
		"\x1b[2Jcleared": `dialog "\x1b[2Jcleared", `,
		"a\nstate  done": `dialog "a\nstate  done", `,
		"right\u202eto":  `dialog "right\u202eto", `,
		"cut\xff":        `dialog "cut\xff", `,
	} {
		err := e.deployment().Inspect(e.Context(), command.Webhook{Dialog: id, Node: node, Sequence: 1},
			new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for what, f := range found(e.now()) {
		r := f.record
		if !r.Forgotten() {
			r.Token = "\x1b[2J\tc"
		}
		if r.State == record.Done {
			r.Result.ContentType = "\x1b[2J\tc"
		}
		if r.State == record.Failed {
			r.Reason = "\x1b[2J\tc"
		}
		e.plant(key, r, ttl)
		if page := e.inspect(); strings.ContainsAny(page, "\x1b\t") {
			t.Errorf("%s: its text comes through: %q", what, page)
		}
	}
}
