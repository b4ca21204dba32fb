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

// of gives an operation a class.
func of(class int, op scripts.Op) scripts.Op { op.Class = class; return op }

func (e *engine) callOf(classes []scripts.Class, ops ...scripts.Op) []scripts.Answer {
	e.Helper()
	call := scripts.Call{
		Metrics: "cognigy:metrics", Flushed: "cognigy:flush:test", Settle: e.settle, Lease: lease, Classes: classes, Ops: ops,
	}
	reply, err := call.Run(context.Background(), e.client)
	if err != nil {
		e.Fatal(err)
	}
	return reply.Answers
}

func (e *engine) expectLife(key string, want time.Duration) {
	e.Helper()
	ms, err := strconv.Atoi(e.do("PTTL", key))
	if left := time.Duration(ms) * time.Millisecond; err != nil || left > want || left < want-10*time.Second {
		e.Errorf("%s lives for %v, want %v", key, left, want)
	}
}

func TestOperationsOfOneCallGoByTheirClasses(t *testing.T) {
	refusal := record.Result{Status: 404, ContentType: "text/plain", Body: []byte("none")}
	onEach(t, func(t *testing.T, e *engine) {
		classes := make([]scripts.Class, 120)
		for i := range classes {
			classes[i] = scripts.Class{
				TTL: time.Duration(1000+i) * time.Minute, RejectedTTL: time.Duration(3000+i) * time.Minute,
				DoubtTTL: time.Duration(5000+i) * time.Minute, StopInDoubt: i%2 == 1, MaxAttempts: i % 3,
				Counters: fmt.Sprintf("tenant-%d/", i),
			}
		}
		for _, i := range []int{0, 1, 9, 10, 109, 119} {
			c, result, refused := classes[i], fmt.Sprint(key, i, "a"), fmt.Sprint(key, i, "b")
			e.callOf(classes, of(i, claimOp(result, "t", true, digest, false)),
				of(i, claimOp(refused, "t", true, digest, false)))
			want := c.TTL
			if c.StopInDoubt {
				want = c.DoubtTTL
			}
			e.expectLife(result, want)
			e.callOf(classes, of(i, renewOp(result, 1, "t", digest)))
			e.expectLife(result, want)
			e.callOf(classes, of(i, storeOp(result, 1, "t", digest, other200)),
				of(i, storeOp(refused, 1, "t", digest, refusal)))
			e.expectLife(result, c.TTL)
			e.expectLife(refused, c.RejectedTTL)
			e.do("DEL", refused)
			e.callOf(classes, of(i, storeOp(refused, 1, "t", digest, refusal))) // its class puts it back
			e.expectLife(refused, c.RejectedTTL)
			m := e.metrics()
			for name, want := range map[string]string{"executed": "2", "stored": "3", "restored": "1"} {
				if got := m[c.Counters+name]; got != want {
					t.Errorf("class %d: %s is %q, want %s", i, c.Counters+name, got, want)
				}
			}
		}
		if m := e.metrics(); m["executed"] != "12" || m["stored"] != "18" || m["restored"] != "6" {
			t.Errorf("totals %v", m)
		}
		failed := make([]scripts.Op, 0, 6)
		for i := range 3 {
			k := fmt.Sprint(key, i, "c")
			failed = append(failed, of(i, claimOp(k, "t", true, digest, false)), of(i, failOp(k, 1, "t", "error", false)))
		}
		e.callOf(classes, failed...)
		for i, want := range []scripts.Verdict{scripts.Claimed, scripts.Poisoned, scripts.Claimed} { // MAX_ATTEMPTS is i
			if a := e.callOf(classes, of(i, claimOp(fmt.Sprint(key, i, "c"), "u", true, digest, false)))[0]; a.Verdict != want {
				t.Errorf("class %d: %+v, want %s", i, a, want)
			}
		}
	})
}

var other200 = record.Result{Status: 200, ContentType: record.JSON, Body: []byte("{}")}

func TestEachOperationGoesByTheClassThatItIsIn(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		classes := make([]*scripts.Class, 3)
		for i := range classes {
			own := e.class()
			own.TTL, own.Counters = time.Duration(100+i)*time.Hour, fmt.Sprintf("tenant-%d/", i)
			classes[i] = &own
		}
		call := scripts.Call{
			Metrics: "cognigy:metrics", Flushed: "cognigy:flush:test", Lease: lease, Class: classes[0],
			Ops: []scripts.Op{
				claimOp(key+"a", "t", true, digest, false).In(classes[1]),
				claimOp(key+"b", "t", true, digest, false), // in no class: the call's applies
				claimOp(key+"c", "t", true, digest, false).In(classes[2]),
				claimOp(key+"d", "t", true, digest, false).In(classes[1]),
			},
		}
		if _, err := call.Run(t.Context(), e.client); err != nil {
			t.Fatal(err)
		}
		for of, i := range map[string]int{"a": 1, "b": 0, "c": 2, "d": 1} {
			e.expectLife(key+of, classes[i].TTL)
		}
		for i, want := range []string{"1", "2", "1"} {
			if n := e.do("HGET", "cognigy:metrics", fmt.Sprintf("tenant-%d/executed", i)); n != want {
				t.Errorf("of the class %d %s began, want %s", i, n, want)
			}
		}
	})
}

func TestAClassWithoutACounterPrefixIsCountedInTheTotalsOnly(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		classes := []scripts.Class{{TTL: ttl, DoubtTTL: doubtTTL}, {TTL: ttl, DoubtTTL: doubtTTL, Counters: "acme/"}}
		e.callOf(classes, of(0, claimOp(key, "t", true, digest, false)), of(1, claimOp(key+"2", "t", true, digest, false)),
			of(0, claimOp(key, "u", true, digest, false)), of(1, failOp(key+"2", 1, "t", "error", false)))
		want := map[string]string{"executed": "2", "acme/executed": "1", "failed": "1", "acme/failed": "1"}
		if m := e.metrics(); fmt.Sprint(m) != fmt.Sprint(want) {
			t.Errorf("counted %v, want %v", m, want)
		}
	})
}

func TestAnAnnouncementChangesAKeyThatEndsByItself(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.claim("a")
		answers := e.callOf([]scripts.Class{e.class()}, scripts.Forget(key, true), scripts.Announce("cognigy:forgets"))
		if answers[0].Verdict != scripts.Forgotten || answers[1].Verdict != scripts.Announced {
			t.Errorf("%+v", answers)
		}
		told, err := strconv.ParseInt(e.do("GET", "cognigy:forgets"), 10, 64)
		if age := e.now().Sub(time.UnixMilli(told)); err != nil || age < 0 || age > time.Minute {
			t.Errorf("it holds %d, %v, %v old", told, err, age)
		}
		e.expectLife("cognigy:forgets", 24*time.Hour)
	})
}

// TestACallIsRunAgainAndAgain: the call uses its memory again, but not the memory that its answers point to.
func TestACallIsRunAgainAndAgain(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		call := scripts.Call{
			Metrics: "cognigy:metrics", Flushed: "cognigy:flush:test", Lease: lease, Classes: []scripts.Class{e.class()},
		}
		var first []byte
		for round := range 50 {
			call.Flush = scripts.Flush{}
			if round%7 == 0 {
				call.Flush = scripts.Flush{Number: uint64(round + 1), Counters: []scripts.Increment{{Field: "waited", By: 1}}}
			}
			call.Ops = call.Ops[:0]
			for i := range round * 3 % 64 {
				k, token := fmt.Sprint(key, round, "-", i), strings.Repeat("t", i+1)
				body := record.Result{Status: 200, ContentType: record.JSON, Body: []byte(strings.Repeat("x", i*i))}
				call.Ops = append(call.Ops, claimOp(k, token, true, digest, false), storeOp(k, 1, token, digest, body),
					lookOp(k, true))
			}
			if round == 20 { // its context has ended
				over, end := context.WithCancel(context.Background())
				end()
				if _, err := call.Run(over, e.client); err == nil {
					t.Error("a call whose time is over has an answer")
				}
				continue
			}
			reply, err := call.Run(context.Background(), e.client)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(reply.Answers); i += 3 {
				a, n := reply.Answers[i:i+3], i/3
				r, err := record.Parse(a[2].Record)
				if a[0].Verdict != scripts.Claimed || a[1].Verdict != scripts.Stored || err != nil ||
					r.Token != strings.Repeat("t", n+1) || len(r.Result.Body) != n*n || r.Digest != digest {
					t.Fatalf("round %d, webhook %d: %+v", round, n, a)
				}
				if first == nil {
					first = a[2].Record
				}
			}
		}
		if r, err := record.Parse(first); err != nil || r.Token != "t" {
			t.Errorf("the first record told has become %q", first)
		}
		if n := e.metrics()["waited"]; n != "8" {
			t.Errorf("%s flushes are counted", n)
		}
	})
}

func TestACallHasBounds(t *testing.T) {
	e := onReal(t)
	for what, call := range map[string]scripts.Call{
		"classes":  {Classes: make([]scripts.Class, scripts.MaxClasses+1)},
		"class -1": {Classes: make([]scripts.Class, 1), Ops: []scripts.Op{of(-1, lookOp(key, true))}},
		"class 1":  {Classes: make([]scripts.Class, 1), Ops: []scripts.Op{of(1, lookOp(key, true))}},
		"counters": {Flush: scripts.Flush{Number: 1, Counters: make([]scripts.Increment, scripts.MaxIncrements+1)}},
	} {
		call.Metrics, call.Flushed = "cognigy:metrics", "cognigy:flush:test"
		if _, err := call.Run(context.Background(), e.client); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	flush := scripts.Flush{Number: 1}
	for i := range scripts.MaxIncrements {
		flush.Counters = append(flush.Counters, scripts.Increment{Field: fmt.Sprint("f", i), By: -1})
	}
	if reply := e.call(flush); !reply.Flushed || e.metrics()["f255"] != "-1" || e.metrics()["f0"] != "-1" {
		t.Errorf("the most counters: %+v, %v", reply, e.metrics())
	}
}

func TestWithStopWhatIsRenewedLivesForDoubtTTL(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.stop = true
		e.run(renewOp(key, 1, "ours", digest))
		e.expectLife(key, doubtTTL)
		e.run(renewOp(key, 1, "ours", digest))
		e.expectLife(key, doubtTTL)
	})
}
