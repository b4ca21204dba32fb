package scripts_test

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/scripts"
)

const (
	lease = 60 * time.Second
	ttl   = time.Hour

	rejectedTTL = time.Minute
	doubtTTL    = 10 * ttl

	key = "cognigy:fp:test"
)

// engine is a Redis that runs the script, with the settings of a test's calls.
type engine struct {
	testing.TB
	client rueidis.Client

	settle      time.Duration
	maxAttempts int
	stop        bool // IN_DOUBT
	trail       int  // transitions kept
}

// onEach runs a test on miniredis and on a real redis-server.
func onEach(t *testing.T, test func(t *testing.T, e *engine)) {
	t.Run("miniredis", func(t *testing.T) {
		_, url := redistest.Embedded(t)
		test(t, &engine{TB: t, client: redistest.Client(t, url[len("redis://"):])})
	})
	t.Run("redis", func(t *testing.T) { test(t, onReal(t)) })
}

func onReal(t testing.TB, args ...string) *engine {
	server := redistest.Start(t, args...)
	return &engine{TB: t, client: redistest.Client(t, server.Addr())}
}

func (e *engine) do(args ...string) string { e.Helper(); return redistest.Do(e, e.client, args...) }

func (e *engine) now() time.Time {
	e.Helper()
	parts, err := e.client.Do(context.Background(), e.client.B().Time().Build()).AsStrSlice()
	if err != nil {
		e.Fatalf("TIME: %v", err)
	}
	s, _ := strconv.ParseInt(parts[0], 10, 64)
	us, _ := strconv.ParseInt(parts[1], 10, 64)
	return time.UnixMicro(s*1e6 + us)
}

func (e *engine) setValue(r record.Record) {
	e.Helper()
	e.do("SET", key, string(record.Append(nil, r)), "PX", "500000")
}

func (e *engine) call(flush scripts.Flush, ops ...scripts.Op) scripts.Reply {
	e.Helper()
	call := scripts.Call{
		Metrics: "cognigy:metrics", Flushed: "cognigy:flush:test", Settle: e.settle, Lease: lease,
		Classes: []scripts.Class{e.class()}, Flush: flush, Ops: ops, Trail: scripts.Trail{Stream: stream, Keep: e.trail},
	}
	reply, err := call.Run(context.Background(), e.client)
	if err != nil {
		e.Fatalf("script: %v", err)
	}
	return reply
}

// class returns the settings of a test as a class.
func (e *engine) class() scripts.Class {
	return scripts.Class{
		TTL: ttl, RejectedTTL: rejectedTTL, DoubtTTL: doubtTTL, MaxAttempts: e.maxAttempts, StopInDoubt: e.stop,
	}
}

func (e *engine) run(op scripts.Op) scripts.Answer {
	e.Helper()
	return e.call(scripts.Flush{}, op).Answers[0]
}

func (e *engine) recordOf() record.Record {
	e.Helper()
	value := e.do("GET", key)
	if value == "" {
		return record.Record{}
	}
	r, err := record.Parse([]byte(value))
	if err != nil {
		e.Fatalf("what stands at the key, %q: %v", value, err)
	}
	return r
}

func (e *engine) metrics() map[string]string {
	e.Helper()
	m, err := e.client.Do(context.Background(), e.client.B().Hgetall().Key("cognigy:metrics").Build()).AsStrMap()
	if err != nil {
		e.Fatalf("HGETALL: %v", err)
	}
	return m
}

var (
	digest  = record.Digest{1, 2, 3}
	another = record.Digest{4, 5, 6}
	result  = record.Result{Status: 200, ContentType: record.JSON, Body: []byte("{\"a\":\"line\\n\"}\n\x00")}
	other   = record.Result{Status: 404, ContentType: "text/plain; charset=utf-8", Body: []byte("other")}
)

// before has each state of a record that an operation of attempt 2 under token "ours" may meet. The number behind
// "other" is the attempt of that token; V is an F with a verdict.
func before(now time.Time) map[string]record.Record {
	running := func(attempt int64, token string) record.Record {
		return record.Record{State: record.InProgress, Attempt: attempt, Token: token,
			Deadline: now.Add(lease / 2), Lease: lease, Started: now.Add(-lease / 2), Digest: another}
	}
	expired := func(attempt int64, token string) record.Record {
		r := running(attempt, token)
		r.Deadline = now.Add(-time.Second)
		return r
	}
	done := func(attempt int64, token string) record.Record {
		return record.Record{State: record.Done, Attempt: attempt, Token: token,
			Stored: now.Add(-time.Second), Ends: now.Add(ttl), Digest: digest, Result: other}
	}
	failed := func(attempt int64, token string) record.Record {
		return record.Record{State: record.Failed, Attempt: attempt, Token: token, FailedAt: now, Reason: "error"}
	}
	judged := func(attempt int64, token string) record.Record {
		return record.Record{State: record.Failed, Attempt: attempt, Token: token, FailedAt: now, Reason: record.Expired,
			Started: now, Digest: another, Doubt: true, Failures: 1, Verdict: record.Poisoned}
	}
	return map[string]record.Record{
		"nothing": {},
		"P ours":  running(2, "ours"), "P ours expired": expired(2, "ours"),
		"P other 1": running(1, "other"), "P other 2": running(2, "other"), "P other 3": running(3, "other"),
		"P other 1 expired": expired(1, "other"), "P other 2 expired": expired(2, "other"),
		"P other 3 expired": expired(3, "other"),
		"D ours":            done(2, "ours"),
		"D other 1":         done(1, "other"), "D other 2": done(2, "other"), "D other 3": done(3, "other"),
		"F ours":    failed(2, "ours"),
		"F other 1": failed(1, "other"), "F other 2": failed(2, "other"), "F other 3": failed(3, "other"),
		"V ours":    judged(2, "ours"),
		"V other 1": judged(1, "other"), "V other 2": judged(2, "other"), "V other 3": judged(3, "other"),
	}
}

// cell is what an operation does in one state: its verdict, the record afterwards ("as it was", or state, attempt and
// token), and the counters that grew.
type cell struct {
	verdict scripts.Verdict
	after   string
	counts  string
}

const asItWas = "as it was"

func TestEveryCellOfTheTable(t *testing.T) {
	restored := func(after, counts string) cell { return cell{scripts.Restored, after, counts} }
	refused := cell{scripts.Refused, asItWas, ""}
	lateStore := cell{scripts.Refused, asItWas, "lost_stores:1"}
	lostLease := cell{scripts.Refused, asItWas, "lost_leases:1"}
	running := cell{scripts.InProgress, asItWas, ""}
	free := cell{scripts.Free, asItWas, ""}
	found := cell{scripts.Done, asItWas, "duplicates:1 replayed:1"}
	poisoned := cell{scripts.Poisoned, asItWas, ""}
	putBack := cell{scripts.Failed, "F 2 ours", ""}

	operations := map[string]struct {
		op    func(now time.Time) scripts.Op
		cells map[string]cell
	}{
		"claim": {
			func(time.Time) scripts.Op { return claimOp(key, "ours", true, digest, false) },
			map[string]cell{
				"nothing": {scripts.Claimed, "P 1 ours", "executed:1"},
				"P ours":  {scripts.Claimed, "P 2 ours", ""}, "P ours expired": {scripts.Claimed, "P 2 ours", ""},
				"P other 1": running, "P other 2": running, "P other 3": running,
				"P other 1 expired": {scripts.Claimed, "P 2 ours", "executed:1 takeovers:1"},
				"P other 2 expired": {scripts.Claimed, "P 3 ours", "executed:1 takeovers:1"},
				"P other 3 expired": {scripts.Claimed, "P 4 ours", "executed:1 takeovers:1"},
				"D ours":            found, "D other 1": found, "D other 2": found, "D other 3": found,
				"F ours":    {scripts.Cancelled, asItWas, ""},
				"V ours":    poisoned,
				"V other 1": poisoned, "V other 2": poisoned, "V other 3": poisoned,
				"F other 1": {scripts.Claimed, "P 2 ours", "executed:1"},
				"F other 2": {scripts.Claimed, "P 3 ours", "executed:1"},
				"F other 3": {scripts.Claimed, "P 4 ours", "executed:1"},
			},
		},
		"claim again": {
			func(time.Time) scripts.Op { return claimOp(key, "ours", false, digest, false) },
			map[string]cell{
				"nothing": {scripts.Claimed, "P 1 ours", "executed:1"},
				"P ours":  {scripts.Claimed, "P 2 ours", ""}, "P ours expired": {scripts.Claimed, "P 2 ours", ""},
				"P other 1": running, "P other 2": running, "P other 3": running,
				"P other 1 expired": {scripts.Claimed, "P 2 ours", "executed:1 takeovers:1"},
				"P other 2 expired": {scripts.Claimed, "P 3 ours", "executed:1 takeovers:1"},
				"P other 3 expired": {scripts.Claimed, "P 4 ours", "executed:1 takeovers:1"},
				"D ours":            {scripts.Done, asItWas, ""}, "D other 1": {scripts.Done, asItWas, ""},
				"D other 2": {scripts.Done, asItWas, ""}, "D other 3": {scripts.Done, asItWas, ""},
				"F ours":    {scripts.Cancelled, asItWas, ""},
				"V ours":    poisoned,
				"V other 1": poisoned, "V other 2": poisoned, "V other 3": poisoned,
				"F other 1": {scripts.Claimed, "P 2 ours", "executed:1"},
				"F other 2": {scripts.Claimed, "P 3 ours", "executed:1"},
				"F other 3": {scripts.Claimed, "P 4 ours", "executed:1"},
			},
		},
		"look": {
			func(time.Time) scripts.Op { return lookOp(key, true) },
			map[string]cell{
				"nothing": free,
				"P ours":  running, "P ours expired": free,
				"P other 1": running, "P other 2": running, "P other 3": running,
				"P other 1 expired": free, "P other 2 expired": free, "P other 3 expired": free,
				"D ours": found, "D other 1": found, "D other 2": found, "D other 3": found,
				"F ours": free, "F other 1": free, "F other 2": free, "F other 3": free,
				"V ours": poisoned, "V other 1": poisoned, "V other 2": poisoned, "V other 3": poisoned,
			},
		},
		"renew": {
			func(time.Time) scripts.Op { return renewOp(key, 2, "ours", digest) },
			map[string]cell{
				"nothing": restored("P 2 ours", "restored:1"),
				"P ours":  {scripts.Renewed, "P 2 ours", ""}, "P ours expired": {scripts.Renewed, "P 2 ours", ""},
				"P other 1": restored("P 2 ours", "restored:1"), "P other 2": lostLease, "P other 3": lostLease,
				"P other 1 expired": restored("P 2 ours", "restored:1"), "P other 2 expired": lostLease,
				"P other 3 expired": lostLease,
				"D ours":            refused,
				"D other 1":         restored("P 2 ours", "restored:1"), "D other 2": lostLease, "D other 3": lostLease,
				"F ours":    refused,
				"F other 1": restored("P 2 ours", "restored:1"), "F other 2": lostLease, "F other 3": lostLease,
				"V ours":    refused,
				"V other 1": restored("P 2 ours", "restored:1"), "V other 2": lostLease, "V other 3": lostLease,
			},
		},
		"store": {
			func(time.Time) scripts.Op { return storeOp(key, 2, "ours", digest, result) },
			map[string]cell{
				"nothing": restored("D 2 ours", "restored:1 stored:1"),
				"P ours":  {scripts.Stored, "D 2 ours", "stored:1"}, "P ours expired": {scripts.Stored, "D 2 ours", "stored:1"},
				"P other 1": restored("D 2 ours", "restored:1 stored:1"), "P other 2": restored("D 2 ours", "restored:1 stored:1"),
				"P other 3":         lateStore,
				"P other 1 expired": restored("D 2 ours", "restored:1 stored:1"), "P other 2 expired": restored("D 2 ours",
					"restored:1 stored:1"),
				"P other 3 expired": lateStore,
				"D ours":            {scripts.Stored, asItWas, ""},
				"D other 1":         restored("D 2 ours", "restored:1 stored:1"), "D other 2": lateStore, "D other 3": lateStore,
				"F ours":    refused,
				"F other 1": restored("D 2 ours", "restored:1 stored:1"), "F other 2": restored("D 2 ours", "restored:1 stored:1"),
				"F other 3": lateStore,
				"V ours":    {scripts.Stored, "D 2 ours", "stored:1"},
				"V other 1": restored("D 2 ours", "restored:1 stored:1"), "V other 2": restored("D 2 ours", "restored:1 stored:1"),
				"V other 3": lateStore,
			},
		},
		"restore of a done record": {
			func(now time.Time) scripts.Op {
				return scripts.Restore(key, record.Append(nil, record.Record{State: record.Done, Attempt: 2, Token: "ours",
					Stored: now.Add(-time.Minute), Ends: now.Add(time.Minute), Digest: digest, Result: result}))
			},
			map[string]cell{
				"nothing": restored("D 2 ours", "restored:1"),
				"P ours":  {scripts.Stored, "D 2 ours", "stored:1"}, "P ours expired": {scripts.Stored, "D 2 ours", "stored:1"},
				"P other 1": restored("D 2 ours", "restored:1"), "P other 2": restored("D 2 ours", "restored:1"),
				"P other 3":         refused,
				"P other 1 expired": restored("D 2 ours", "restored:1"), "P other 2 expired": restored("D 2 ours", "restored:1"),
				"P other 3 expired": refused,
				"D ours":            {scripts.Stored, asItWas, ""},
				"D other 1":         restored("D 2 ours", "restored:1"), "D other 2": refused, "D other 3": refused,
				"F ours":    refused,
				"F other 1": restored("D 2 ours", "restored:1"), "F other 2": restored("D 2 ours", "restored:1"),
				"F other 3": refused,
				"V ours":    {scripts.Stored, "D 2 ours", "stored:1"},
				"V other 1": restored("D 2 ours", "restored:1"), "V other 2": restored("D 2 ours", "restored:1"),
				"V other 3": refused,
			},
		},
		"restore of a failed record": {
			func(now time.Time) scripts.Op {
				return scripts.Restore(key, record.Append(nil, record.Record{State: record.Failed, Attempt: 2, Token: "ours",
					FailedAt: now.Add(-time.Second), Reason: "error"}))
			},
			restoresAFailure(refused),
		},
		"restore of a verdict": {
			func(now time.Time) scripts.Op {
				return scripts.Restore(key, record.Append(nil, record.Record{State: record.Failed, Attempt: 2, Token: "ours",
					FailedAt: now.Add(-time.Second), Reason: record.Expired, Doubt: true, Failures: 1, Verdict: record.Doubtful}))
			},
			restoresAFailure(restored("F 2 ours", "restored:1")),
		},
		"fail": {
			func(time.Time) scripts.Op { return failOp(key, 2, "ours", "error", false) },
			map[string]cell{
				"nothing": putBack,
				"P ours":  {scripts.Failed, "F 2 ours", "failed:1"}, "P ours expired": {scripts.Failed, "F 2 ours", "failed:1"},
				"P other 1": putBack, "P other 2": lateStore, "P other 3": lateStore,
				"P other 1 expired": putBack, "P other 2 expired": lateStore, "P other 3 expired": lateStore,
				"D ours":    refused,
				"D other 1": putBack, "D other 2": lateStore, "D other 3": lateStore,
				"F ours":    {scripts.Failed, asItWas, ""},
				"F other 1": putBack, "F other 2": lateStore, "F other 3": lateStore,
				"V ours":    {scripts.Failed, asItWas, "failed:1"},
				"V other 1": putBack, "V other 2": lateStore, "V other 3": lateStore,
			},
		},
		"fail of a claim that was never answered": {
			func(time.Time) scripts.Op { return failOp(key, 0, "ours", "unanswered", false) },
			map[string]cell{
				"nothing": {scripts.Failed, "F 0 ours", ""},
				"P ours":  {scripts.Failed, "F 2 ours", "failed:1"}, "P ours expired": {scripts.Failed, "F 2 ours", "failed:1"},
				"P other 1": refused, "P other 2": refused, "P other 3": refused,
				"P other 1 expired": refused, "P other 2 expired": refused, "P other 3 expired": refused,
				"D ours":    refused,
				"D other 1": refused, "D other 2": refused, "D other 3": refused,
				"F ours":    {scripts.Failed, asItWas, ""},
				"F other 1": refused, "F other 2": refused, "F other 3": refused,
				"V ours":    {scripts.Failed, asItWas, "failed:1"},
				"V other 1": refused, "V other 2": refused, "V other 3": refused,
			},
		},
		"forget": {
			func(time.Time) scripts.Op { return scripts.Forget(key, false) },
			forgets(cell{scripts.Running, asItWas, ""}),
		},
		"forget with force": {
			func(time.Time) scripts.Op { return scripts.Forget(key, true) },
			forgets(cell{verdict: scripts.Forgotten}),
		},
		"forget of a verdict": {
			func(time.Time) scripts.Op { return scripts.ForgetVerdict(key, 2) },
			forgetsVerdicts(),
		},
		"resolve": {
			func(time.Time) scripts.Op {
				return scripts.Resolve(key, record.Record{State: record.Done, Attempt: 2, Digest: digest, Result: result})
			},
			resolves(),
		},
	}

	onEach(t, func(t *testing.T, e *engine) {
		for name, o := range operations {
			for state := range before(time.Now()) {
				t.Run(name+" finds "+state, func(t *testing.T) {
					e := &engine{TB: t, client: e.client}
					want, ok := o.cells[state]
					if !ok {
						t.Fatal("the table has no such cell")
					}
					e.check(o.op(e.now()), before(e.now())[state], want)
					e.trail = 100
					e.check(o.op(e.now()), before(e.now())[state], want)
					e.expectTold(o.op(e.now()), before(e.now())[state], want)
				})
			}
		}
	})
}

// restoresAFailure is the row of the restore of a failed record of attempt 2; overF is its cell over its own record
// without a verdict.
func restoresAFailure(overF cell) map[string]cell {
	restored := cell{scripts.Restored, "F 2 ours", "restored:1"}
	row := make(map[string]cell)
	for state, r := range before(time.Now()) {
		row[state] = cell{scripts.Refused, asItWas, ""}
		if r.Attempt < 2 || state == "P ours" || state == "P ours expired" {
			row[state] = restored
		}
	}
	row["F ours"] = overF
	return row
}

// resolves is the row of a resolve of attempt 2.
func resolves() map[string]cell {
	row := make(map[string]cell)
	for state, r := range before(time.Now()) {
		switch {
		case r.State == 0:
			row[state] = cell{scripts.Missing, asItWas, ""}
		case r.State == record.Done || r.Attempt != 2:
			row[state] = cell{scripts.Refused, asItWas, ""}
		case r.State == record.InProgress && r.Deadline.After(time.Now()):
			row[state] = cell{scripts.Running, asItWas, ""}
		default:
			row[state] = cell{scripts.Resolved, "D 3 -", ""}
		}
	}
	return row
}

// forgets is the row of forget; running is its cell for a running execution.
func forgets(running cell) map[string]cell {
	row := map[string]cell{"nothing": {scripts.Missing, asItWas, ""}}
	for state, r := range before(time.Now()) {
		if r.State == 0 {
			continue
		}
		forgotten := cell{scripts.Forgotten, fmt.Sprintf("F %d -", r.Attempt+1), ""}
		if r.State == record.InProgress && running.after == asItWas {
			forgotten = running
		}
		row[state] = forgotten
	}
	return row
}

// forgetsVerdicts is the row of a forget of the verdict on attempt 2.
func forgetsVerdicts() map[string]cell {
	row := make(map[string]cell)
	for state, r := range before(time.Now()) {
		switch {
		case r.State == 0:
			row[state] = cell{scripts.Missing, asItWas, ""}
		case r.Verdict != record.NoVerdict && r.Attempt == 2:
			row[state] = cell{scripts.Forgotten, "F 3 -", ""}
		default:
			row[state] = cell{scripts.Refused, asItWas, ""}
		}
	}
	return row
}

// check does an operation on the record stood, and compares the outcome with the cell.
func (e *engine) check(op scripts.Op, stood record.Record, want cell) {
	e.Helper()
	e.do("FLUSHALL")
	if stood.State != 0 {
		e.setValue(stood)
	}
	bytesBefore := e.do("GET", key)
	start := e.now().Truncate(time.Millisecond)

	answer := e.run(op)

	if answer.Verdict != want.verdict {
		e.Errorf("verdict %q, want %q", answer.Verdict, want.verdict)
	}
	if got := fmt.Sprint(sorted(e.metrics())); got != "["+want.counts+"]" {
		e.Errorf("counters %s, want [%s]", got, want.counts)
	}
	if want.after == asItWas {
		if after := e.do("GET", key); after != bytesBefore {
			e.Errorf("the record was %q and is %q", bytesBefore, after)
		}
	} else {
		after := e.recordOf()
		if got := fmt.Sprintf("%c %d %s", after.State, after.Attempt, after.Token); got != want.after {
			e.Errorf("the record is %q, want %q", got, want.after)
		}
		e.checkTimes(after, stood, start)
		if want := map[bool]record.Digest{true: another,
			false: digest}[answer.Verdict == scripts.Renewed]; after.State == record.InProgress && after.Digest != want {
			e.Errorf("it says that %x is executed, want %x", after.Digest, want)
		}
		want := ttl
		if after.Verdict != record.NoVerdict {
			want = doubtTTL
		}
		if ms, _ := strconv.Atoi(e.do("PTTL", key)); ms <= 0 || time.Duration(ms)*time.Millisecond > want {
			e.Errorf("PTTL is %d", ms)
		}
	}
	switch answer.Verdict {
	case scripts.Done, scripts.Refused, scripts.Poisoned:
		if string(answer.Record) != bytesBefore {
			e.Errorf("the answer carries %q, want %q", answer.Record, bytesBefore)
		}
	case scripts.Failed:
		if string(answer.Record) != e.do("GET", key) {
			e.Errorf("the answer carries %q, but %q stands", answer.Record, e.do("GET", key))
		}
	case scripts.Claimed:
		if answer.Attempt != e.recordOf().Attempt {
			e.Errorf("the answer says attempt %d", answer.Attempt)
		}
		if want := ended(stood); stood.Token != "ours" && answer.Before != want {
			e.Errorf("the attempt before ended by %q, but the answer says %q", want, answer.Before)
		}
		if want := stood.Token == "other" && stood.State == record.InProgress; answer.Doubt != want ||
			e.recordOf().Doubt != want {
			e.Errorf("in doubt: the answer says %v, the record %v", answer.Doubt, e.recordOf().Doubt)
		}
	case scripts.Free:
		before := map[record.State]string{0: "nothing", record.InProgress: "expired", record.Failed: "error"}
		if answer.Before != before[stood.State] {
			e.Errorf("the answer says %q of what stood", answer.Before)
		}
	case scripts.InProgress:
		if answer.Left <= 0 || answer.Left > lease {
			e.Errorf("the answer says %v left", answer.Left)
		}
		if answer.Digest != another {
			e.Errorf("the answer says that %x is executed", answer.Digest)
		}
	}
}

// ended is the word for how a record's attempt ended, as the next claim tells it.
func ended(r record.Record) string {
	if r.State == record.InProgress {
		return record.Expired
	}
	return r.Reason
}

// checkTimes checks the times and the result in a record that was written.
func (e *engine) checkTimes(after, stood record.Record, start time.Time) {
	e.Helper()
	switch after.State {
	case record.InProgress:
		if after.Lease != lease || after.Deadline.Before(start.Add(lease)) {
			e.Errorf("its lease of %v holds until %v, %v after the call", after.Lease, after.Deadline, after.Deadline.Sub(start))
		}
		if after.Token == stood.Token && !after.Started.Equal(stood.Started.Truncate(time.Millisecond)) {
			e.Errorf("a renewal moved its start from %v to %v", stood.Started, after.Started)
		}
	case record.Done:
		if string(after.Result.Body) != string(result.Body) || after.Result.Status != 200 ||
			after.Result.ContentType != record.JSON || after.Digest != digest {
			e.Errorf("it holds %+v %x", after.Result, after.Digest)
		}
		if !after.Ends.After(start) {
			e.Errorf("it ends at %v, before %v", after.Ends, start)
		}
	}
}

func sorted(m map[string]string) []string {
	var lines []string
	for _, field := range []string{"duplicates", "executed", "failed", "lost_leases", "lost_stores", "replayed",
		"restored", "settlings", "stored", "takeovers"} {
		if n, ok := m[field]; ok {
			lines = append(lines, field+":"+n)
			delete(m, field)
		}
	}
	for field := range maps.Keys(m) {
		if field != "history" && field != "met_at" && field != "settled_at" && field != "settle" {
			lines = append(lines, "unexpected "+field)
		}
	}
	return lines
}

func TestRestoreOfARecordWhoseEndHasComeWritesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		ended := record.Record{State: record.Done, Attempt: 1, Token: "ours", Stored: e.now().Add(-ttl),
			Ends: e.now().Add(-time.Millisecond), Digest: digest, Result: result}
		e.check(scripts.Restore(key, record.Append(nil, ended)), record.Record{}, cell{scripts.Expired, asItWas, ""})
	})
}

func TestAnotherBodyDoesNotFollowAnAttemptInDoubtWhereThatIsSet(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		claim := func(token string, body record.Digest) scripts.Verdict {
			a := e.run(claimOp(key, token, true, body, true))
			if a.Verdict == scripts.Mismatch && a.Digest == body {
				t.Error("the answer says that this very body was executed")
			}
			return a.Verdict
		}
		for reason, want := range map[string]scripts.Verdict{
			"unknown": scripts.Mismatch, "timeout": scripts.Mismatch, "error": scripts.Claimed, "refused": scripts.Claimed,
		} {
			e.do("FLUSHALL")
			claim("a", digest)
			e.run(failOp(key, 1, "a", reason, false))
			if got := claim("b", another); got != want {
				t.Errorf("after %q another body is answered %q, want %q", reason, got, want)
			}
			if want == scripts.Mismatch && claim("c", digest) != scripts.Claimed {
				t.Errorf("after %q the same body is not claimed", reason)
			}
		}
		e.setValue(before(e.now())["P other 1 expired"]) // its body is another
		if got := claim("ours", digest); got != scripts.Mismatch {
			t.Errorf("after a crash another body is answered %q", got)
		}
		if a := e.run(claimOp(key, "ours", true, digest, false)); a.Verdict != scripts.Claimed {
			t.Errorf("where it is not set, another body is answered %q", a.Verdict)
		}
	})
}

func TestAReplyHasRoomForAMegabyteOfRecords(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		var looks []scripts.Op
		for i, bytes := range []int{2 << 20, 300 << 10, 300 << 10} { // the first one is sent however large it is
			large := record.Record{State: record.Done, Attempt: 1, Token: "t", Stored: e.now(), Ends: e.now().Add(ttl),
				Digest: digest,
				Result: record.Result{Status: 200, ContentType: "text/plain", Body: make([]byte, bytes)}}
			e.do("SET", fmt.Sprint(key, i), string(record.Append(nil, large)))
			looks = append(looks, lookOp(fmt.Sprint(key, i), false))
		}
		sizes := func(ops ...scripts.Op) (told []bool) {
			for _, a := range e.call(scripts.Flush{}, ops...).Answers {
				if a.Verdict != scripts.Done {
					t.Errorf("verdict %q", a.Verdict)
				}
				told = append(told, len(a.Record) > 0)
			}
			return told
		}
		if got := fmt.Sprint(sizes(looks...)); got != "[true false false]" {
			t.Errorf("behind a large one, records are told: %s", got)
		}
		if got := fmt.Sprint(sizes(looks[1], looks[2], looks[1], looks[2])); got != "[true true true false]" {
			t.Errorf("of four that are over the bound together, these are told: %s", got)
		}
	})
}

func TestARefusalDoesNotLiveAsLongAsOtherResults(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.run(claimOp(key, "ours", true, digest, false))
		refusal := record.Result{Status: 404, ContentType: "text/plain",
			Headers: []record.Header{{Name: "X-Why", Value: "no seats: 100%"}}, Body: []byte("none")}
		e.run(storeOp(key, 1, "ours", digest, refusal))
		ms, _ := strconv.Atoi(e.do("PTTL", key))
		if r := e.recordOf(); ms > 60_000 || r.Ends.Sub(r.Stored) != rejectedTTL ||
			fmt.Sprint(r.Result) != fmt.Sprint(refusal) {
			t.Errorf("PTTL %d, record %+v", ms, r)
		}
	})
}

func TestRestoredRecordLivesUntilItsOwnEnd(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		r := record.Record{State: record.Done, Attempt: 1, Token: "ours", Stored: e.now(), Ends: e.now().Add(time.Minute),
			Digest: digest, Result: result}
		value := record.Append(nil, r)
		e.run(scripts.Restore(key, value))
		if got := e.do("GET", key); got != string(value) {
			t.Errorf("restored as %q, want %q", got, value)
		}
		if ms, _ := strconv.Atoi(e.do("PTTL", key)); ms <= 0 || ms > 60_000 {
			t.Errorf("PTTL is %d, want at most a minute", ms)
		}
	})
}

func TestAForeignValueIsLeftAsItIsAndSpoilsNoNeighbour(t *testing.T) {
	operations := map[string]scripts.Op{
		"claim": claimOp(key, "ours", true, digest, false), "renew": renewOp(key, 1, "ours", digest),
		"store": storeOp(key, 1, "ours", digest, result), "fail": failOp(key, 0, "ours", "error", false),
		"forget": scripts.Forget(key, true), "look": lookOp(key, true),
		"restore": scripts.Restore(key, record.Append(nil, record.Record{
			State: record.Failed, Attempt: 1, Token: "ours", FailedAt: time.Now(), Reason: "error"})),
	}
	aDigest := strings.Repeat("A", record.DigestLength)
	foreign := map[string][]string{
		"a hash":                 {"HSET", key, "a", "b"},
		"rubbish":                {"SET", key, "rubbish"},
		"nothing but a state":    {"SET", key, "P"},
		"an unknown state":       {"SET", key, "X1 1 token 1 1 1\n"},
		"an unknown version":     {"SET", key, "D9 1 token 1 1 1\n"},
		"no deadline":            {"SET", key, "P1 1 token\n"},
		"an empty string":        {"SET", key, ""},
		"an uncountable attempt": {"SET", key, "F1 9007199254740992 token 1 error\n"},
		"a short digest":         {"SET", key, "P1 1 token abc 99999999999999 60000 1 0 0 -\n"},
		"a long digest":          {"SET", key, "P1 1 token AAAAAAAAAAAAAAAAAAAAAAA 99999999999999 60000 1 0 0 -\n"},
		"a digest of other text": {"SET", key, "P1 1 token AAAAAAAAAA+AAAAAAAAAAA 99999999999999 60000 1 0 0 -\n"},
		"a digest's other text":  {"SET", key, "P1 1 token AAAAAAAAAAAAAAAAAAAAAB 99999999999999 60000 1 0 0 -\n"},
		"no digest":              {"SET", key, "P1 1 token - 99999999999999 60000 1 0 0 -\n"},
		"an endless lease":       {"SET", key, "P1 1 token " + aDigest + " 99999999999999 99999999999999999 1 0 0 -\n"},
		"binary":                 {"SET", key, "\x00\xff\n\n"},
	}
	onEach(t, func(t *testing.T, e *engine) {
		for what, set := range foreign {
			for name, op := range operations {
				t.Run(name+" finds "+what, func(t *testing.T) {
					e := &engine{TB: t, client: e.client}
					e.do("FLUSHALL")
					e.do(set...)
					dump := func() string { return e.do("TYPE", key) + e.do("STRLEN", "none") }
					stood := dump()
					reply := e.call(scripts.Flush{}, op, claimOp(key+"2", "ours", true, digest, false))
					if v := reply.Answers[0].Verdict; v != scripts.Foreign {
						t.Errorf("verdict %q", v)
					}
					if v := reply.Answers[1].Verdict; v != scripts.Claimed {
						t.Errorf("its neighbour's verdict is %q", v)
					}
					if dump() != stood {
						t.Error("it was changed")
					}
					if set[0] == "SET" && e.do("GET", key) != set[2] {
						t.Errorf("it is now %q", e.do("GET", key))
					}
				})
			}
		}
	})
}

func TestAFlushIsTakenOnceHoweverOftenItComes(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		flush := scripts.Flush{Number: 1, Counters: []scripts.Increment{{Field: "total_requests", By: 3},
			{Field: "waited", By: 2}}}
		for range 3 {
			if !e.call(flush).Flushed {
				t.Fatal("it was not taken")
			}
		}
		flush.Number = 2
		e.call(flush, claimOp(key, "t", true, digest, false))
		if m := e.metrics(); m["total_requests"] != "6" || m["waited"] != "4" {
			t.Errorf("counted %v", m)
		}
		if ms, _ := strconv.Atoi(e.do("PTTL", "cognigy:flush:test")); ms <= 0 {
			t.Errorf("the flush number lives for ever: PTTL %d", ms)
		}
	})
}

func TestAForeignFlushNumberIsNoneOfOurs(t *testing.T) {
	for what, set := range map[string][]string{"rubbish": {"SET", "cognigy:flush:test", "abc"},
		"a hash": {"HSET", "cognigy:flush:test", "a", "b"}} {
		onEach(t, func(t *testing.T, e *engine) {
			e.do(set...)
			reply := e.call(scripts.Flush{Number: 1, Counters: []scripts.Increment{{Field: "waited", By: 1}}},
				claimOp(key, "t", true, digest, false))
			if !reply.Flushed || reply.Answers[0].Verdict != scripts.Claimed || e.metrics()["waited"] != "1" {
				t.Errorf("%s: reply %+v, metrics %v", what, reply, e.metrics())
			}
		})
	}
}

func TestTwoOperationsOnOneRecordInOneCallSeeEachOther(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		reply := e.call(scripts.Flush{},
			claimOp(key, "a", true, digest, false), claimOp(key, "b", true, digest, false),
			storeOp(key, 1, "a", digest, result), claimOp(key, "b", true, digest, false))
		var got []scripts.Verdict
		for _, a := range reply.Answers {
			got = append(got, a.Verdict)
		}
		if want := "[claimed progress stored done]"; fmt.Sprint(got) != want {
			t.Errorf("verdicts %v, want %s", got, want)
		}
	})
}

// TestAClaimThatCameLateLowersNoAttempt: a claim that was repeated, or executed late, after another attempt had begun
// and ended gives its token a second attempt. The later attempt counts, whichever of the two the owner knows of.
func TestAClaimThatCameLateLowersNoAttempt(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		running := func(attempt int64) {
			e.setValue(record.Record{
				State: record.InProgress, Attempt: attempt, Token: "ours", Deadline: e.now().Add(lease), Lease: lease,
				Started: e.now(), Digest: digest,
			})
		}
		for _, stood := range []int64{1, 3} {
			running(stood)
			e.run(renewOp(key, 2, "ours", digest))
			if r := e.recordOf(); r.State != record.InProgress || r.Attempt != max(stood, 2) {
				t.Errorf("attempt 2 was renewed over %d: %+v", stood, r)
			}
			running(stood)
			e.run(storeOp(key, 2, "ours", digest, result))
			if r := e.recordOf(); r.State != record.Done || r.Attempt != max(stood, 2) {
				t.Errorf("attempt 2 was stored over %d: %+v", stood, r)
			}
		}
	})
}

func TestALeaseOutlivesNoClockThatWasSteppedBack(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.setValue(record.Record{State: record.InProgress, Attempt: 1, Token: "other", Deadline: e.now().Add(time.Hour),
			Lease: time.Second, Started: e.now()})
		if a := e.run(claimOp(key, "ours", true, digest, false)); a.Verdict != scripts.InProgress || a.Left != time.Second {
			t.Errorf("answer %+v, want in progress with its own length left", a)
		}
		r := e.recordOf()
		if left := r.Deadline.Sub(e.now()); left > time.Second || r.Token != "other" || r.Lease != time.Second {
			t.Errorf("it holds for %v still: %+v", left, r)
		}
	})
}

func TestNumbersStayExactPastWhatLuaPrints(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		const attempt = 1 << 50
		e.run(renewOp(key, attempt, "ours", digest))
		if a := e.run(claimOp(key, "ours", true, digest, false)); a.Attempt != attempt || e.recordOf().Attempt != attempt {
			t.Errorf("attempt %d, in the record %d, want %d", a.Attempt, e.recordOf().Attempt, int64(attempt))
		}
	})
}

func TestSettling(t *testing.T) {
	const settle = 300 * time.Millisecond
	begin := func(t *testing.T) *engine {
		e := onReal(t)
		e.settle = settle
		return e
	}
	store := storeOp(key, 1, "ours", digest, result)

	t.Run("a first history is met by any call", func(t *testing.T) {
		e := begin(t)
		reply := e.call(scripts.Flush{})
		if reply.Settling != settle || reply.History.ID == "" || e.metrics()["settlings"] != "1" {
			t.Errorf("reply %+v, metrics %v", reply, e.metrics())
		}
	})
	t.Run("claim, store and forget are answered settling whatever stands there", func(t *testing.T) {
		for name, stood := range before(time.Now()) {
			e := begin(t)
			if stood.State != 0 {
				e.setValue(stood)
			}
			for _, a := range e.call(scripts.Flush{}, claimOp(key, "ours", true, digest, false), store,
				scripts.Forget(key, true)).Answers {
				if a.Verdict != scripts.Settling || a.Left <= 0 || a.Left > settle {
					t.Errorf("%s: %+v", name, a)
				}
			}
			if m := e.metrics(); m["executed"]+m["stored"]+m["replayed"] != "" {
				t.Errorf("%s: counted %v", name, m)
			}
		}
	})
	t.Run("renewals, restores and fails are taken, and prolong it within its bound", func(t *testing.T) {
		t.Parallel()
		const settle = time.Second // long enough for some calls, however busy the machine is
		e := onReal(t)
		e.settle = settle
		met := e.call(scripts.Flush{})
		done := record.Append(nil, record.Record{State: record.Done, Attempt: 1, Token: "t", Stored: met.Now,
			Ends: met.Now.Add(ttl), Digest: digest, Result: result})
		var last, settling scripts.Reply
		for i := 0; ; i++ {
			settling = last
			last = e.call(scripts.Flush{}, scripts.Restore(fmt.Sprint(key, i), done), failOp(fmt.Sprint(key, "f", i), 1, "t",
				"error", false))
			if last.Settling == 0 || last.Now.Sub(met.Now) > 10*settle {
				break
			}
			if last.Answers[0].Verdict != scripts.Restored || last.Answers[1].Verdict != scripts.Failed {
				t.Fatalf("answers %+v", last.Answers)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if least, most := settling.Now.Sub(met.Now), last.Now.Sub(met.Now); most < 4*settle || least > 5*settle {
			t.Errorf("it settled after %v to %v, want five times %v", least, most, settle)
		}
		if a := e.run(claimOp(key+"0", "u", true, digest, false)); a.Verdict != scripts.Done {
			t.Errorf("then a claim finds %+v", a)
		}
	})
	t.Run("a repeated renewal does not prolong it", func(t *testing.T) {
		e := begin(t)
		met := e.call(scripts.Flush{}, renewOp(key, 1, "ours", digest))
		for reply := met; reply.Settling > 0; reply = e.call(scripts.Flush{}, renewOp(key, 1, "ours", digest)) {
			if reply.Now.Sub(met.Now) > 2*settle {
				t.Fatal("it does not settle")
			}
			time.Sleep(time.Millisecond)
		}
	})
	t.Run("FLUSHALL begins it anew", func(t *testing.T) {
		e := begin(t)
		first := e.call(scripts.Flush{})
		eventually(t, func() bool { return e.call(scripts.Flush{}).Settling == 0 })
		e.do("FLUSHALL")
		reply := e.call(scripts.Flush{}, claimOp(key, "ours", true, digest, false))
		if reply.Answers[0].Verdict != scripts.Settling || reply.History == first.History ||
			reply.History.ID != first.History.ID {
			t.Errorf("reply %+v after %+v", reply, first)
		}
	})
	t.Run("a clock that was stepped back does not settle for ever", func(t *testing.T) {
		e := begin(t)
		e.call(scripts.Flush{})
		e.setHistory(fmt.Sprint(e.now().UnixMilli(), " ", e.now().Add(time.Hour).UnixMilli(), " ", settle.Milliseconds()))
		if a := e.run(claimOp(key, "ours", true, digest, false)); a.Verdict != scripts.Claimed {
			t.Errorf("answer %+v", a)
		}
	})
	t.Run("a length that nobody wrote does not make it settle for ever", func(t *testing.T) {
		e := begin(t)
		e.call(scripts.Flush{})
		e.setHistory(fmt.Sprint(e.now().UnixMilli(), " 99999999999999999 99999999999999999"))
		if a := e.run(claimOp(key, "ours", true, digest, false)); a.Verdict != scripts.Claimed {
			t.Errorf("answer %+v", a)
		}
	})
	t.Run("rubbish behind the history is no error", func(t *testing.T) {
		e := begin(t)
		e.call(scripts.Flush{})
		e.setHistory(fmt.Sprint(e.now().UnixMilli(), " rubbish"))
		if a := e.run(claimOp(key, "ours", true, digest, false)); a.Verdict != scripts.Claimed {
			t.Errorf("answer %+v", a)
		}
	})
	t.Run("rubbish for a history is none", func(t *testing.T) {
		e := begin(t)
		e.call(scripts.Flush{})
		for _, rubbish := range []string{"", "rubbish", "x 1 2 3 4", strings.Repeat("x", 54)} {
			e.do("HSET", "cognigy:metrics", "history", rubbish)
			a := e.run(claimOp(key, "ours", true, digest, false))
			if noted := e.metrics()["history"]; a.Verdict != scripts.Settling || !strings.HasPrefix(noted, e.replicationID()) {
				t.Errorf("answer %+v, noted %q", a, noted)
			}
		}
	})
	t.Run("once it has settled, nothing of that is left", func(t *testing.T) {
		e := begin(t)
		first := e.call(scripts.Flush{})
		var reply scripts.Reply
		eventually(t, func() bool { reply = e.call(scripts.Flush{}); return reply.Settling == 0 })
		want := fmt.Sprint(first.History.ID, " ", first.History.Met)
		if noted := e.metrics()["history"]; noted != want || reply.History != first.History {
			t.Errorf("noted is %q, want %q, and the reply says %+v", noted, want, reply.History)
		}
	})
}

// setHistory notes this Redis' own history, followed by a text.
func (e *engine) setHistory(behind string) {
	e.Helper()
	e.do("HSET", "cognigy:metrics", "history", e.replicationID()+" "+behind)
}

func (e *engine) replicationID() string {
	e.Helper()
	_, id, _ := strings.Cut(e.do("INFO", "replication"), "master_replid:")
	id, _, _ = strings.Cut(id, "\r\n")
	return id
}

func TestAFullRedisAnswersEachOperationForItself(t *testing.T) {
	e := onReal(t)
	e.run(claimOp(key, "ours", true, digest, false))
	e.run(storeOp(key, 1, "ours", digest, result))
	e.do("CONFIG", "SET", "maxmemory", "1")
	reply := e.call(scripts.Flush{Number: 1, Counters: []scripts.Increment{{Field: "waited", By: 1}}},
		claimOp(key, "theirs", true, digest, false), claimOp(key+"2", "theirs", true, digest, false),
		renewOp(key+"3", 1, "x", digest),
		storeOp(key+"4", 1, "x", digest, result), failOp(key+"5", 1, "x", "error", false))
	if a := reply.Answers[0]; a.Verdict != scripts.Done {
		t.Errorf("a replay: %+v", a)
	}
	for _, a := range reply.Answers[1:] {
		if a.Verdict != scripts.Error || a.Text == "" {
			t.Errorf("a write: %+v", a)
		}
	}
	if reply.Flushed {
		t.Error("the flush was taken")
	}
	e.do("CONFIG", "SET", "maxmemory", "0")
	if m := e.metrics(); m["executed"] != "1" || m["waited"] != "" || m["lost_stores"] != "" {
		t.Errorf("counted %v", m)
	}
	if a := e.run(claimOp(key+"2", "theirs", true, digest, false)); a.Verdict != scripts.Claimed {
		t.Errorf("with room again: %+v", a)
	}
}

func TestAHistoryThatCannotBeNotedDecidesNothingAndIsNotTold(t *testing.T) {
	e := onReal(t, "--maxmemory", "1")
	e.settle = time.Second
	reply := e.call(scripts.Flush{}, claimOp(key, "ours", true, digest, false))
	if reply.Answers[0].Verdict != scripts.Error || reply.History != (scripts.History{}) {
		t.Errorf("reply %+v", reply)
	}
}

func TestTheScriptIsSentAgainAfterScriptFlush(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.run(claimOp(key, "ours", true, digest, false))
		e.do("SCRIPT", "FLUSH")
		if a := e.run(claimOp(key, "ours", false, digest, false)); a.Verdict != scripts.Claimed {
			t.Errorf("answer %+v", a)
		}
	})
}

func eventually(t testing.TB, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never held")
		}
	}
}
