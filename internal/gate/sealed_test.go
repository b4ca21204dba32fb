package gate_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/seal"
)

// sealing are options with keys of these ids, of which the first one seals.
func sealing(t testing.TB, o gate.Options, ids ...string) gate.Options {
	t.Helper()
	var file strings.Builder
	for _, id := range append(ids, "digest") {
		secret := bytes.Repeat([]byte(id), 32)[:32]
		fmt.Fprintf(&file, "%s %s\n", id, base64.StdEncoding.EncodeToString(secret))
	}
	var err error
	if o.Seal, err = seal.Parse(file.String()); err != nil {
		t.Fatal(err)
	}
	return o
}

// value returns the value of a webhook's key in Redis.
func (h *testbed) value(n int) string {
	h.Helper()
	return redistest.Do(h, h.client, "GET", h.keys.Record(h.request(n, "").Fingerprint))
}

// say makes the logic answer with this, a header beside it.
func (h *testbed) say(text string) {
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		return record.Result{
			Status: 201, ContentType: "text/plain", Body: []byte(text),
			Headers: []record.Header{{Name: "Location", Value: "/bookings/4711"}},
		}, nil
	})
}

// journalOf are lines of a log.
type journalOf struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journalOf) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journalOf) count(part string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), part)
}

func logging(o gate.Options) (gate.Options, *journalOf) {
	var j journalOf
	o.Log = slog.New(slog.NewTextHandler(&j, nil))
	return o, &j
}

func TestResultsAreSealedInRedisAndReplayedByWhoHasTheKey(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(sealing(t, options(), "one")), h.open(sealing(t, options(), "one"))
		h.say("seats: 2")
		h.expect(a.send(1), gate.Executed, "seats: 2")
		for _, hidden := range []string{"seats", "text/plain", "Location", "4711"} {
			if value := h.value(1); !strings.HasPrefix(value, "S1 1 ") || strings.Contains(value, hidden) {
				t.Errorf("%q stands in Redis, with %q in it", value, hidden)
			}
		}
		if r := h.recordOf(1); r.State != record.Sealed || r.Result.Status != 201 || r.KeyID != "one" {
			t.Errorf("%+v stands in Redis", r)
		}
		for _, r := range []*replica{b, a, b, a, b, a} {
			got := r.send(1)
			h.expect(got, gate.Replayed, "seats: 2")
			if got.Result.Status != 201 || got.Result.ContentType != "text/plain" || len(got.Result.Headers) != 1 {
				t.Errorf("%+v", got.Result)
			}
			h.expect(r.Find(nil, h.request(1, "").Fingerprint), gate.Replayed, "seats: 2")
		}
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": 7, "executed": 1, "stored": 1, "replayed": 6})
	})
}

func TestAReplicaWithoutTheKeyAnswers503AndNeverExecutes(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a := h.open(sealing(t, options(), "one"))
		without, told := logging(options())
		b, c := h.open(without), h.open(sealing(t, without, "two"))
		h.expect(a.send(1), gate.Executed, `{"execution":1}`)
		value := h.value(1)
		for range 3 {
			for _, r := range []*replica{b, c} {
				h.expect(r.send(1), gate.Unreadable, "")
				h.expect(r.Find(nil, h.request(1, "").Fingerprint), gate.Unreadable, "")
			}
		}
		if got := h.value(1); got != value {
			t.Errorf("%q became %q", value, got)
		}
		h.expect(a.send(1), gate.Replayed, `{"execution":1}`)
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": 8, "executed": 1, "replayed": 1, "duplicates": 1, "unavailable": 6})
		if n := told.count("a key that this replica does not have"); n != 2 {
			t.Errorf("%d lines in the log, want one a replica", n)
		}
	})
}

func TestWhoWaitsWithoutTheKeyIsToldSoAtTheEnd(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	a, b := h.open(sealing(t, options(), "one")), h.open(options())
	entered, release := h.blocked()
	first := a.later(1)
	<-entered
	looks := func() int { return calls(redistest.Do(h, h.client, "INFO", "commandstats"), "client|caching") }
	atStart := looks()
	waiting := b.later(1)
	h.eventually("it waits", func() bool { return looks() > atStart })
	close(release)
	h.expect(<-first, gate.Executed, `{"attempt":1}`)
	h.expect(<-waiting, gate.Unreadable, "")
	h.expectExecutions(1)
}

func TestASealedRecordThatWasChangedOrMovedIsForeign(t *testing.T) {
	for name, change := range map[string]func(h *testbed, r *record.Record){
		"a bit of the result": func(_ *testbed, r *record.Record) { r.Result.Body[20] ^= 1 },
		"the status":          func(_ *testbed, r *record.Record) { r.Result.Status = 200 },
		"the token":           func(_ *testbed, r *record.Record) { r.Token += "0" },
		"the digest":          func(_ *testbed, r *record.Record) { r.Digest[0] ^= 1 },
		"the key's id":        func(_ *testbed, r *record.Record) { r.KeyID = "two" },
		"from another key":    func(h *testbed, r *record.Record) { *r = h.recordOf(2) },
		"cut short":           func(_ *testbed, r *record.Record) { r.Result.Body = r.Result.Body[:5] },
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, h *testbed) {
				o, told := logging(options())
				a, b := h.open(sealing(t, o, "one", "two")), h.open(sealing(t, options(), "one", "two"))
				h.say("seats: 2")
				for n := range 3 {
					h.expect(a.send(n), gate.Executed, "seats: 2")
					h.expect(a.send(n), gate.Replayed, "seats: 2") // it is kept in memory, too
				}
				r := h.recordOf(1)
				change(h, &r)
				h.record(1, r)
				value := h.value(1)
				h.eventually("it is not replayed from memory", func() bool { return a.send(1).Outcome != gate.Replayed })
				for range 2 {
					for _, r := range []*replica{a, b} {
						h.expect(r.send(1), gate.Foreign, "")
						h.expect(r.Find(nil, h.request(1, "").Fingerprint), gate.Foreign, "")
					}
				}
				if got := h.value(1); got != value {
					t.Errorf("%q became %q", value, got)
				}
				h.expect(a.send(2), gate.Replayed, "seats: 2")
				h.expectExecutions(3)
				if n := told.count("does not open"); n != 1 {
					t.Errorf("%d lines in the log", n)
				}
			})
		})
	}
}

func TestARotationOfKeysLosesNothing(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	open := func(ids ...string) *replica { return h.open(sealing(t, options(), ids...)) }
	h.say("ok")
	a, b := open("old"), open("old")
	h.expect(a.send(1), gate.Executed, "ok")
	h.expect(b.send(1), gate.Replayed, "ok")
	c := open("old", "new") // added last: a and b are not there yet
	h.expect(c.send(2), gate.Executed, "ok")
	h.expect(a.send(2), gate.Replayed, "ok")
	d, e := open("old", "new"), open("new", "old") // the new key becomes the first one once all gates have it
	h.expect(e.send(3), gate.Executed, "ok")
	h.expect(d.send(3), gate.Replayed, "ok")
	h.expect(e.send(2), gate.Replayed, "ok")
	if id := h.recordOf(3).KeyID; id != "new" {
		t.Errorf("sealed under %s", id)
	}
	f := open("new") // dropped, before its records have ended
	h.expect(f.send(3), gate.Replayed, "ok")
	h.expect(f.send(2), gate.Unreadable, "")
	h.expectExecutions(3)
}

// TestASealedResultIsPutBackVerbatim: even if the first store's reply was lost, and sealing again for a second try
// would give other bytes.
func TestASealedResultIsPutBackVerbatim(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openBehindProxy(sealing(t, forgetful(), "one"))
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		r.proxy.Mute()
		time.AfterFunc(500*time.Millisecond, r.proxy.Mend)
		return answer(`{"booked":true}`), nil
	})
	h.expect(r.send(1), gate.Executed, `{"booked":true}`)
	value := h.value(1)
	redistest.Do(t, h.client, "FLUSHALL")
	// A renewal that was on its way puts the execution back first.
	h.eventually("it is put back", func() bool { return strings.HasPrefix(h.value(1), "S1 ") })
	head := func(value string) string { // the times are the replica's own
		fields := strings.SplitN(value, " ", 6)
		return strings.Join(append(fields[:3:3], fields[5]), " ")
	}
	if got := h.value(1); head(got) != head(value) {
		t.Errorf("%q was put back as %q", value, got)
	}
	if got := r.send(1); string(got.Result.Body) != `{"booked":true}` {
		t.Errorf("answer %s %s", name(got.Outcome), got.Result.Body)
	}
	h.expectExecutions(1)
}

func TestWhoFetchedASealedResultPutsItBackToo(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := sealing(t, forgetful(), "one")
	a, b := h.open(o), h.open(o)
	h.expect(a.send(1), gate.Executed, `{"execution":1}`)
	h.expect(b.send(1), gate.Replayed, `{"execution":1}`)
	value := h.value(1)
	if err := a.Close(context.Background()); err != nil { // now only b knows
		t.Fatal(err)
	}
	redistest.Do(t, h.client, "FLUSHALL")
	h.eventually("it is put back", func() bool { return h.value(1) == value })
	h.expect(h.open(o).send(1), gate.Replayed, `{"execution":1}`)
	h.expectExecutions(1)
}

func TestAStormOverReplicasWithAndWithoutTheKeyExecutesOnce(t *testing.T) {
	t.Parallel()
	const webhooks, storm = 20, 30
	h := onReal(t)
	for range 2 {
		h.open(sealing(t, options(), "one"))
		h.open(options())
		h.open(sealing(t, options(), "two", "one"))
	}
	counts := make(map[string]int)
	for n := range webhooks {
		h.setLogic(func(context.Context, int64) (record.Result, error) {
			time.Sleep(5 * time.Millisecond)
			return answer(fmt.Sprint(n)), nil
		})
		for outcome, times := range outcomes(h.all(storm, n)) {
			what, body, _ := strings.Cut(outcome, " ")
			counts[what] += times
			if body != fmt.Sprint(n) && what != "unreadable" || body != "" && what == "unreadable" {
				t.Errorf("webhook %d: %d times %s", n, times, outcome)
			}
		}
	}
	if counts["executed"] != webhooks || counts["waited"]+counts["replayed"] == 0 || counts["unreadable"] == 0 {
		t.Errorf("outcomes %v", counts)
	}
	h.expectExecutions(webhooks)
	h.expectCounts(map[string]int64{"total_requests": webhooks * storm, "executed": webhooks})
}

// TestRecordsFromBeforeThereWereKeysAreRead: they are not sealed, and their digests are plain.
func TestRecordsFromBeforeThereWereKeysAreRead(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		o := options()
		o.RejectMismatch = true
		before, after := h.open(o), h.open(sealing(t, o, "one"))
		keyed := func(n int, body string) gate.Request {
			w := h.request(n, body)
			w.Digest = sealing(t, o, "one").Seal.Digest(w.Digest)
			return w
		}
		h.expect(before.send(1), gate.Executed, `{"execution":1}`)
		if r := h.recordOf(1); r.State != record.Done {
			t.Errorf("%+v stands in Redis", r)
		}
		for range 3 {
			w := keyed(1, "body")
			a, done := after.Replay(w)
			if !done {
				a = after.Do(w)
			}
			h.expect(a, gate.Replayed, `{"execution":1}`)
		}
		h.expect(after.Do(keyed(1, "another")), gate.Mismatched, "")

		entered, release := h.blocked() // one that runs meanwhile
		first := before.later(2)
		<-entered
		second, third := make(chan gate.Answer, 1), make(chan gate.Answer, 1)
		go func() { second <- after.Do(keyed(2, "body")) }()
		go func() { third <- after.Do(keyed(2, "another")) }()
		h.expect(<-third, gate.Mismatched, "")
		close(release)
		h.expect(<-first, gate.Executed, `{"attempt":1}`)
		h.expect(<-second, gate.Waited, `{"attempt":1}`)

		h.record(3, record.Record{ // and one that is in doubt
			State: record.Failed, Attempt: 1, Token: "t", FailedAt: time.Now(), Started: time.Now(), Reason: "timeout",
			Digest: digestOf("body"), Doubt: true, Failures: 1,
		})
		h.expect(after.Do(keyed(3, "another")), gate.Mismatched, "")
		h.expect(after.Do(keyed(3, "body")), gate.Executed, `{"attempt":2}`)
		if r := h.recordOf(3); r.State != record.Sealed || r.Digest != keyed(3, "body").Digest {
			t.Errorf("%+v stands in Redis", r)
		}
		h.expectExecutions(3)
	})
}
