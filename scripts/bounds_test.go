package scripts_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// TestWhatIsJustPastABoundIsForeign: the last value within each bound of a record is one of ours, the next one is
// foreign.
func TestWhatIsJustPastABoundIsForeign(t *testing.T) {
	const (
		two53   = 1 << 53
		century = 100 * 365 * 24 * 60 * 60 * 1000
		digits  = "AAAAAAAAAAAAAAAAAAAAAA"
	)
	far := time.Now().Add(time.Hour).UnixMilli()
	progress := func(attempt, renewed, lease, started int64) string {
		return fmt.Sprintf("P1 %d t %s %d %d %d 0 0 -\n", attempt, digits, renewed, lease, started)
	}
	done := func(stored, lives int64) string {
		return fmt.Sprintf("D1 1 t %s %d %d 200 - text/plain\n{}", digits, stored, lives)
	}
	failed := func(failed, started int64) string {
		return fmt.Sprintf("F1 1 t %s %d error %d 0 0 - -\n", digits, failed, started)
	}
	headOf := func(bytes int) string {
		before := progress(1, far, 60_000, 1)
		return strings.TrimSuffix(before, "\n") + " " + strings.Repeat("x", bytes-len(before)-1) + "\n"
	}
	onEach(t, func(t *testing.T, e *engine) {
		for _, c := range []struct {
			bound        string
			within, past string
			found        scripts.Verdict
		}{
			{"an attempt", progress(two53-1, far, 60_000, 1), progress(two53, far, 60_000, 1), scripts.InProgress},
			{"a renewal", progress(1, two53-1, 60_000, 1), progress(1, two53, 60_000, 1), scripts.InProgress},
			{"a lease", progress(1, far, century, 1), progress(1, far, century+1, 1), scripts.InProgress},
			{"a beginning", progress(1, far, 60_000, two53-1), progress(1, far, 60_000, two53), scripts.InProgress},
			{"a line", headOf(4096), headOf(4097), scripts.InProgress},
			{"a result's beginning", done(two53-1, 1), done(two53, 1), scripts.Done},
			{"a result's life", done(1, century), done(1, century+1), scripts.Done},
			{"a failure", failed(two53-1, 1), failed(two53, 1), scripts.Free},
		} {
			e.do("SET", key, c.within)
			if a := e.run(lookOp(key, true)); a.Verdict != c.found {
				t.Errorf("%s just within its bound: %+v", c.bound, a)
			}
			if _, err := record.Parse([]byte(c.within)); err != nil {
				t.Errorf("%s just within its bound: %v", c.bound, err)
			}
			e.do("SET", key, c.past)
			if a := e.run(lookOp(key, true)); a.Verdict != scripts.Foreign {
				t.Errorf("%s just past its bound: %+v", c.bound, a)
			}
			if _, err := record.Parse([]byte(c.past)); err == nil {
				t.Errorf("%s just past its bound is read", c.bound)
			}
		}
	})
}

// TestMaxAttemptsCountsWhatTheTableOfReasonsSays holds the script against the last column of the table of reasons in
// docs/design.md.
func TestMaxAttemptsCountsWhatTheTableOfReasonsSays(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		for reason, counts := range map[string]bool{
			"error": true, "unknown": true, "timeout": true, "panic": true, "too-large": true, "exited": true,
			"refused": false, "rejected": false, "unanswered": false, "unstarted": false, "unasked": false,
			"shutdown": false, "lease-lost": false, "of-a-later-version": true,
		} {
			e.do("FLUSHALL")
			e.maxAttempts = 1
			e.claim("a")
			e.run(failOp(key, 1, "a", reason, false))
			want := scripts.Claimed
			if counts {
				want = scripts.Poisoned
			}
			if a := e.claim("b"); a.Verdict != want {
				t.Errorf("after %q, with MAX_ATTEMPTS=1: %+v", reason, a)
			}
		}
	})
}

func TestWithStopAnAttemptInDoubtIsNotFollowedHoweverItEnded(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.stop = true
		for how, end := range map[string]func(){
			"its lease ran out":   e.expire,
			"it failed in doubt":  func() { e.run(failOp(key, 1, "a", "unknown", false)) },
			"it followed a doubt": func() { e.run(failOp(key, 1, "a", "error", true)) },
		} {
			e.do("FLUSHALL")
			e.claim("a")
			end()
			if a := e.claim("b"); a.Verdict != scripts.Doubtful {
				t.Errorf("%s: %+v", how, a)
			}
		}
	})
}

// TestAFailureIsNotPutBackOverALaterAttemptOfItsToken: a repeated claim that came late gives its token a later attempt,
// which may be running.
func TestAFailureIsNotPutBackOverALaterAttemptOfItsToken(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		failed := func(attempt int64) []byte {
			return record.Append(nil, record.Record{
				State: record.Failed, Attempt: attempt, Token: "ours", FailedAt: e.now(), Reason: "error",
			})
		}
		e.setValue(record.Record{
			State: record.InProgress, Attempt: 3, Token: "ours", Deadline: e.now().Add(lease), Lease: lease,
			Started: e.now(), Digest: digest,
		})
		a := e.run(scripts.Restore(key, failed(2)))
		if a.Verdict != scripts.Refused || e.recordOf().State != record.InProgress {
			t.Errorf("attempt 2 over 3: %+v, and %+v stands", a, e.recordOf())
		}
		if a = e.run(scripts.Restore(key, failed(3))); a.Verdict != scripts.Restored || e.recordOf().State != record.Failed {
			t.Errorf("attempt 3 over 3: %+v, and %+v stands", a, e.recordOf())
		}
	})
}

// TestAnotherHistoryIsMetAndSettles: a promotion, or a restart with the data on disk, keeps the hash and changes the
// history.
func TestAnotherHistoryIsMetAndSettles(t *testing.T) {
	e := onReal(t)
	e.settle = 300 * time.Millisecond
	first := e.call(scripts.Flush{})
	eventually(t, func() bool { return e.call(scripts.Flush{}).Settling == 0 })
	e.do("DEBUG", "CHANGE-REPL-ID")
	reply := e.call(scripts.Flush{}, claimOp(key, "ours", true, digest, false))
	if reply.Answers[0].Verdict != scripts.Settling || reply.History.ID == first.History.ID || reply.History.ID == "" {
		t.Errorf("reply %+v after %+v", reply, first)
	}
	if n := e.metrics()["settlings"]; n != "2" {
		t.Errorf("%s settlings are counted", n)
	}
}

func TestWhileRedisSettlesNothingIsResolved(t *testing.T) {
	e := onReal(t)
	e.claim("ours")
	e.run(failOp(key, 1, "ours", "unknown", false))
	e.settle = time.Minute
	found := record.Record{State: record.Done, Attempt: 1, Digest: digest, Result: result}
	if a := e.run(scripts.Resolve(key, found)); a.Verdict != scripts.Settling || e.recordOf().State != record.Failed {
		t.Errorf("%+v, and %+v stands", a, e.recordOf())
	}
}

// TestWhatTooFewReplicasHaveIsTakenBack: this Redis has no replica, and the call asks for one.
func TestWhatTooFewReplicasHaveIsTakenBack(t *testing.T) {
	e := onReal(t)
	e.claim("done")
	e.run(storeOp(key, 1, "done", digest, result))
	judged, failing := key+"judged", key+"failing"
	e.run(claimOp(judged, "a", true, digest, false))
	e.run(failOp(judged, 1, "a", "error", false))
	e.run(claimOp(failing, "a", true, digest, false))
	e.maxAttempts = 1
	call := scripts.Call{
		Metrics: "cognigy:metrics", Flushed: "cognigy:flush:test", Lease: lease, Classes: []scripts.Class{e.class()},
		Acks: 1, Timeout: 300 * time.Millisecond,
		Ops: []scripts.Op{
			claimOp(key, "b", true, digest, false), claimOp(key+"new", "b", true, digest, false),
			claimOp(judged, "b", true, digest, false), storeOp(key+"lost", 1, "b", digest, result),
			scripts.Forget(key, false), failOp(failing, 1, "a", "error", false),
		},
	}
	reply, err := call.Run(context.Background(), e.client)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range reply.Answers[:5] {
		if a.Verdict != scripts.Error || a.Record != nil {
			t.Errorf("operation %d: %+v", i, a)
		}
	}
	if a := reply.Answers[5]; a.Verdict != scripts.Failed || !reply.Short {
		t.Errorf("a failure: %+v, short %v", a, reply.Short)
	}
}

// TestWhatOnePersonDidIsNotTakenForAnothersWork: all persons have the same token, so only the attempt shows which of
// two records is the later one.
func TestWhatOnePersonDidIsNotTakenForAnothersWork(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		resolved := func(attempt int64) record.Record {
			return record.Record{
				State: record.Done, Attempt: attempt, Token: record.Person, Stored: e.now(), Ends: e.now().Add(ttl), Digest: digest,
				Result: result,
			}
		}
		forgotten := func(attempt int64) record.Record {
			return record.Record{
				State: record.Failed, Attempt: attempt, Token: record.Person, FailedAt: e.now(), Reason: "forgotten",
			}
		}
		for _, c := range []struct {
			what         string
			stood, comes record.Record
			want         scripts.Verdict
		}{
			{"a later result over a result", resolved(2), resolved(5), scripts.Restored},
			{"an earlier result over a result", resolved(5), resolved(2), scripts.Refused},
			{"a later result over what was forgotten", forgotten(2), resolved(3), scripts.Restored},
			{"an earlier result over what was forgotten", forgotten(3), resolved(2), scripts.Refused},
		} {
			e.setValue(c.stood)
			a := e.run(scripts.Restore(key, record.Append(nil, c.comes)))
			stands, want := e.recordOf().Attempt, max(c.stood.Attempt, c.comes.Attempt)
			if a.Verdict != c.want || stands != want {
				t.Errorf("%s: %q, and attempt %d stands", c.what, a.Verdict, stands)
			}
		}
	})
}

// TestWhereReplicasAcknowledgeTheScriptIsSentAgainToo: with REPLICAS_ACK the script goes over a connection of its own.
func TestWhereReplicasAcknowledgeTheScriptIsSentAgainToo(t *testing.T) {
	e := onReal(t)
	e.do("SCRIPT", "FLUSH")
	call := scripts.Call{
		Metrics: "cognigy:metrics", Flushed: "cognigy:flush:test", Lease: lease, Classes: []scripts.Class{e.class()},
		Acks: 1, Timeout: 300 * time.Millisecond, Ops: []scripts.Op{failOp(key, 1, "t", "error", false)},
	}
	reply, err := call.Run(context.Background(), e.client)
	if err != nil || reply.Answers[0].Verdict != scripts.Failed {
		t.Errorf("%+v, error %v", reply, err)
	}
}

// TestAHistoryThatCannotBeNotedReplaysNothing: the records of such a Redis may be older than what was answered.
func TestAHistoryThatCannotBeNotedReplaysNothing(t *testing.T) {
	e := onReal(t)
	e.claim("ours")
	e.run(storeOp(key, 1, "ours", digest, result))
	e.do("CONFIG", "SET", "maxmemory", "1")
	e.settle = time.Second
	if a := e.run(lookOp(key, true)); a.Verdict != scripts.Error {
		t.Errorf("%+v", a)
	}
}

// TestAValueThatIsLongerThanAnyRecordIsForeign: an answer would carry it to every replica that asks.
func TestAValueThatIsLongerThanAnyRecordIsForeign(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		r := record.Record{
			State: record.Done, Attempt: 1, Token: "t", Stored: e.now(), Ends: e.now().Add(ttl), Digest: digest,
			Result: record.Result{Status: 200, ContentType: "text/plain"},
		}
		for length, want := range map[int]scripts.Verdict{
			record.MaxValue: scripts.Done, record.MaxValue + 1: scripts.Foreign,
		} {
			e.do("SET", key, string(record.Append(nil, r)))
			e.do("SETRANGE", key, strconv.Itoa(length-1), "\x00") // a result of zeros, which need not be sent
			if a := e.run(lookOp(key, true)); a.Verdict != want {
				t.Errorf("%d bytes: answer %q with %d bytes", length, a.Verdict, len(a.Record))
			}
			e.do("DEL", key)
		}
	})
}

func TestATokenIsNotTakenForOneThatBeginsAlike(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.claim("ours-12")
		a := e.run(storeOp(key, 1, "ours-1", digest, result))
		if a.Verdict != scripts.Restored || e.metrics()["restored"] != "1" {
			t.Errorf("%+v, counted %v", a, e.metrics())
		}
	})
}

func TestAStoreOfAFirstAttemptIsCounted(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		for range 3 {
			e.call(scripts.Flush{}, claimOp(key, "a", true, digest, false), storeOp(key, 1, "a", digest, result))
		}
		if m := e.metrics(); m["executed"] != "1" || m["stored"] != "1" {
			t.Errorf("counted %v", m)
		}
	})
}
