package gate

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

func newJournal(room int) *journal {
	return &journal{room: room, byFingerprint: make(map[fingerprint.Fingerprint]*entry)}
}

func named(n int) fingerprint.Fingerprint { return fingerprint.Of([]byte("d"), []byte("n"), int64(n)) }

func outcome(token string, bytes int) *record.Record {
	return &record.Record{State: record.Done, Token: token, Result: record.Result{Body: make([]byte, bytes)}}
}

// tokens returns the tokens of the entries, in their order.
func (j *journal) tokens(epoch link.Epoch) (tokens string) {
	for _, e := range j.unconfirmed(epoch) {
		tokens += e.record.Token
	}
	return tokens
}

func TestTheJournalTellsWhatRedisMayHaveForgottenTheNewestFirst(t *testing.T) {
	j := newJournal(1 << 20)
	j.add(nil, named(1), outcome("a", 1), 0)
	j.add(nil, named(2), outcome("b", 1), 0)
	j.add(nil, named(3), outcome("c", 1), 1)
	j.add(nil, named(1), outcome("d", 1), 0) // answered again: it is the newest
	if got := j.tokens(1); got != "db" {
		t.Errorf("behind the first signal: %s", got)
	}
	j.confirm(j.unconfirmed(1)[0], 1)
	if got := j.tokens(1); got != "b" {
		t.Errorf("after one was answered for: %s", got)
	}
	if got := j.tokens(2); got != "dcb" {
		t.Errorf("behind the second signal: %s", got)
	}
	j.drop(named(2), "another") // not its
	j.drop(named(3), "c")
	if got := j.tokens(2); got != "db" {
		t.Errorf("after one was overtaken: %s", got)
	}
}

func TestTheJournalKeepsTheLaterOfTwoOutcomes(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	done := func(attempt, stored, ends int64) record.Record {
		return record.Record{State: record.Done, Attempt: attempt, Token: "done", Stored: at(stored), Ends: at(ends)}
	}
	failed := func(attempt, when int64, verdict record.Verdict) record.Record {
		return record.Record{State: record.Failed, Attempt: attempt, Token: "failed" + string(verdict), FailedAt: at(when),
			Verdict: verdict}
	}
	for _, c := range []struct {
		name         string
		known, comes record.Record
		replaced     bool
	}{
		{"an earlier attempt", done(2, 10, 100), done(1, 20, 120), false},
		{"a later attempt", done(1, 10, 100), failed(2, 20, ""), true},
		{"the verdict on a failure", failed(1, 10, ""), failed(1, 10, record.Poisoned), true},
		{"a failure under a verdict", failed(1, 10, record.Poisoned), failed(1, 20, ""), false},
		{"the result after a verdict", failed(1, 10, record.Doubtful), done(1, 20, 120), true},
		{"a failure after the result", done(1, 10, 100), failed(1, 20, record.Poisoned), false},
		{"the same result again", done(1, 10, 100), done(1, 10, 100), true},
		{"a first attempt after the result has ended", done(3, 10, 100), done(1, 100, 200), true},
		{"a first failure after the result has ended", done(3, 10, 100), failed(1, 101, ""), true},
	} {
		j := newJournal(1 << 20)
		j.add(nil, named(1), &c.known, 0)
		j.add(nil, named(1), &c.comes, 1)
		if got := j.all.last; len(j.byFingerprint) != 1 || j.all.first != got || (got.epoch == 1) != c.replaced {
			t.Errorf("%s: replaced %v", c.name, got.epoch == 1)
		}
	}
}

func TestTheJournalIsBoundedInBytes(t *testing.T) {
	j := newJournal(10 * (entryOverhead + 100))
	for n := range 100 {
		j.add(nil, named(n), outcome(fmt.Sprint(n%10), 100), 0)
		j.add(nil, named(n), outcome(fmt.Sprint(n%10), 100), 0)
		if j.bytes > j.room || len(j.byFingerprint) != len(j.unconfirmed(1)) {
			t.Fatalf("%d bytes of %d, %d entries of %d names", j.bytes, j.room, len(j.unconfirmed(1)), len(j.byFingerprint))
		}
	}
	if got := j.tokens(1); got != "9876543210" {
		t.Errorf("it keeps %s", got)
	}
	j.add(nil, named(1), outcome("x", j.room), 0) // by itself too large
	if got := j.tokens(1); got != "9876543210" {
		t.Errorf("it keeps %s", got)
	}
	j.add(nil, named(1), outcome("x", j.room-entryOverhead), 0)
	if got := j.tokens(1); got != "x" || j.bytes != j.room {
		t.Errorf("it keeps %s in %d bytes", got, j.bytes)
	}
	newJournal(0).add(nil, named(1), outcome("x", 0), 0)
}

func TestTheJournalForgetsWhatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal(1 << 20)
		for n := range 4 {
			j.add(nil, named(n), outcome(fmt.Sprint(n), 1), 0)
			time.Sleep(time.Minute)
		}
		j.add(nil, named(0), outcome("0", 1), 0)
		j.expire(time.Now().Add(-2 * time.Minute))
		if got := j.tokens(1); got != "032" || j.empty() {
			t.Errorf("it keeps %s", got)
		}
		j.expire(time.Now().Add(time.Second))
		if !j.empty() || j.bytes != 0 {
			t.Errorf("%d bytes are left", j.bytes)
		}
	})
}

func TestANoisyTenantTakesNoRoomInTheJournalFromAQuietOne(t *testing.T) {
	j := newJournal(10 * (entryOverhead + 100))
	quiet, noisy := &Tenant{Rules: Rules{Name: "quiet"}}, &Tenant{Rules: Rules{Name: "noisy"}}
	j.add(quiet, named(1), outcome("q", 100), 0)
	j.add(quiet, named(2), outcome("r", 100), 0)
	for n := range 100 {
		j.add(noisy, named(10+n), outcome(string(rune('A'+n%26)), 100), 0)
	}
	if got := j.tokens(1); got != "VUTSRQPOrq" { // its own ten newest, but for the two of the other
		t.Errorf("the journal has %s", got)
	}
	for n := range 100 { // a third one gets room from the one that has most
		j.add(nil, named(200+n), outcome("-", 100), 0)
	}
	if got := j.tokens(1); got != "----VUTSrq" {
		t.Errorf("then it has %s", got)
	}
	j.drop(named(1), "q")
	j.drop(named(2), "r")
	if j.shares.byTenant["quiet"] != nil || len(j.shares.heap) != 2 {
		t.Error("a tenant without an entry has a share")
	}
}
