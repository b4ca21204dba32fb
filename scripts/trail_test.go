package scripts_test

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

const stream = "cognigy:trail"

// told returns the entries of the trail, the oldest first.
func (e *engine) told() (lines []string) {
	e.Helper()
	entries, err := e.client.Do(context.Background(),
		e.client.B().Xrange().Key(stream).Start("-").End("+").Build()).AsXRange()
	if err != nil {
		e.Fatalf("XRANGE: %v", err)
	}
	for _, entry := range entries {
		lines = append(lines, entry.FieldValues["e"])
	}
	return lines
}

// expectTold compares the trail after an operation with the cell. A record that changed its attempt or state has one
// event, even if the operation is repeated; nothing else has any.
func (e *engine) expectTold(op scripts.Op, stood record.Record, want cell) {
	e.Helper()
	same := fmt.Sprintf("%c %d %s", stood.State, stood.Attempt, stood.Token) == want.after
	events := 0
	if want.after != asItWas && (!same || want.verdict == scripts.Restored) && want.after != "F 0 ours" {
		events = 1
	}
	if got := e.told(); len(got) != events {
		e.Errorf("the trail has %q, want %d events", got, events)
	}
	if want.verdict == scripts.Forgotten {
		return // a second forget by a person is a second event
	}
	e.run(op)
	if got := e.told(); len(got) != events {
		e.Errorf("after a repeat the trail has %q, want %d events", got, events)
	}
}

// TestTheTrailTellsTheStory: the call that makes a transition writes its event. Events are in order, and none is
// written twice.
func TestTheTrailTellsTheStory(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.trail = 1000
		const note = "3 dialogId=d&nodeId=n&sequence=7"
		claim := func(token string) scripts.Op { return claimOp(key, token, true, digest, false).Noted(note) }
		resolved := record.Record{State: record.Done, Attempt: 3, Digest: digest, Result: other}
		twice := func(op scripts.Op) { // the first reply was lost
			e.run(op)
			e.run(op)
		}
		twice(claim("gw-1~A~1"))
		twice(renewOp(key, 1, "gw-1~A~1", digest))
		e.expire()
		twice(claim("gw-2~B~1"))
		e.run(claim("gw-3~C~1")) // it waits
		twice(storeOp(key, 2, "gw-2~B~1", digest, result).Noted("17 -"))
		e.run(claim("gw-3~C~1")) // it is a replay
		e.run(storeOp(key, 1, "gw-1~A~1", digest, other).Noted("0 -"))
		e.run(scripts.Forget(key, false))
		twice(claim("gw-1~A~2"))
		twice(failOp(key, 4, "gw-1~A~2", "timeout", false))
		e.stop = true
		twice(claim("gw-2~B~2"))
		resolved.Attempt = 4
		e.run(scripts.Resolve(key, resolved))
		e.stop = false

		d := "AQIDAAAAAAAAAAAAAAAAAA"
		e.expectStory(
			"claimed - 0 T 1 gw-1~A~1 "+d+" "+key+" "+note,
			"takeover expired 0 T 2 gw-2~B~1 "+d+" "+key+" "+note,
			"stored - 200 T 2 gw-2~B~1 "+d+" "+key+" 17 -",
			"forgotten done 0 0 2 - "+d+" "+key+" 0 -",
			"claimed forgotten 0 T 4 gw-1~A~2 "+d+" "+key+" "+note,
			"failed timeout 0 T 4 gw-1~A~2 "+d+" "+key+" 0 -",
			"doubtful timeout 0 T 4 gw-1~A~2 "+d+" "+key+" 0 -",
			"resolved timeout 404 0 4 - "+d+" "+key+" 0 -",
		)
	})
}

func TestTheTrailTellsRefusalsVerdictsAndWhatWasPutBack(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.trail, e.maxAttempts = 1000, 1
		d := "AQIDAAAAAAAAAAAAAAAAAA"
		e.run(claimOp(key, "gw~A~1", true, digest, false))
		e.run(storeOp(key, 1, "gw~A~1", digest, other)) // decided in the script's loop
		e.do("DEL", key)
		e.run(claimOp(key, "gw~A~2", true, digest, false))
		e.run(failOp(key, 1, "gw~A~2", "rejected", false))
		e.run(claimOp(key, "gw~A~3", true, digest, false))
		e.run(storeOp(key, 2, "gw~A~3", digest, other)) // with a past
		e.do("DEL", key)
		e.run(claimOp(key, "gw~A~4", true, digest, false))
		e.expire()
		e.run(lookOp(key, true)) // a verdict is passed
		e.run(lookOp(key, true))
		verdict := []byte(e.do("GET", key))
		e.do("DEL", key)
		e.run(scripts.Restore(key, verdict))
		e.do("DEL", key)
		e.run(renewOp(key, 5, "gw~A~5", digest))
		done := record.Record{State: record.Done, Attempt: 5, Token: "gw~A~5", Digest: digest, Result: result,
			Stored: e.now(), Ends: e.now().Add(ttl)}
		e.run(scripts.Restore(key, record.Append(nil, done))) // a store whose call was lost is put back
		e.do("DEL", key)
		e.run(scripts.Restore(key, record.Append(nil, done)))
		e.do("DEL", key)
		e.run(failOp(key, 0, "gw~A~6", "unanswered", false)) // nothing was executed
		e.expectStory(
			"claimed - 0 T 1 gw~A~1 "+d+" "+key+" 0 -",
			"rejected - 404 T 1 gw~A~1 "+d+" "+key+" 0 -",
			"claimed - 0 T 1 gw~A~2 "+d+" "+key+" 0 -",
			"rejected rejected 0 T 1 gw~A~2 "+d+" "+key+" 0 -",
			"claimed rejected 0 T 2 gw~A~3 "+d+" "+key+" 0 -",
			"rejected - 404 T 2 gw~A~3 "+d+" "+key+" 0 -",
			"claimed - 0 T 1 gw~A~4 "+d+" "+key+" 0 -",
			"poisoned expired 0 T 1 gw~A~4 "+d+" "+key+" 0 -",
			"restored expired 0 T 1 gw~A~4 "+d+" "+key+" 0 -",
			"restored - 0 T 5 gw~A~5 "+d+" "+key+" 0 -",
			"stored - 200 T 5 gw~A~5 "+d+" "+key+" 0 -",
			"restored - 200 0 5 gw~A~5 "+d+" "+key+" 0 -",
		)
	})
}

// expectStory compares the trail with a story; T stands for any time.
func (e *engine) expectStory(want ...string) {
	e.Helper()
	got := e.told()
	for i := range got {
		got[i] = regexp.MustCompile(` 1\d{12} `).ReplaceAllString(got[i], " T ")
	}
	if !reflect.DeepEqual(got, want) {
		e.Errorf("it tells\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWithoutATrailNothingIsWritten(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.run(claimOp(key, "gw~A~1", true, digest, false).Noted("0 x=y"))
		e.run(storeOp(key, 1, "gw~A~1", digest, result).Noted("0 -"))
		if got := e.do("EXISTS", stream); got != "0" {
			t.Errorf("there is a stream")
		}
	})
}

// TestATrailThatCannotBeWrittenFailsNothing: the stream's key has another program's value.
func TestATrailThatCannotBeWrittenFailsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.trail = 1000
		e.do("SET", stream, "foreign")
		if a := e.run(claimOp(key, "gw~A~1", true, digest, false)); a.Verdict != scripts.Claimed {
			t.Errorf("claim: %+v", a)
		}
		if a := e.run(failOp(key, 1, "gw~A~1", "error", false)); a.Verdict != scripts.Failed {
			t.Errorf("fail: %+v", a)
		}
		if got := e.do("GET", stream); got != "foreign" {
			t.Errorf("it is %q", got)
		}
	})
}

// TestAFullRedisTellsNoTransitionThatItDidNotTake, and tells each that it took: no entry is refused after its write.
func TestAFullRedisTellsNoTransitionThatItDidNotTake(t *testing.T) {
	e := onReal(t)
	e.trail = 1000
	e.run(claimOp(key, "gw~A~1", true, digest, false))
	e.do("CONFIG", "SET", "maxmemory", "1")
	if a := e.run(storeOp(key, 1, "gw~A~1", digest, result)); a.Verdict != scripts.Error {
		t.Errorf("a full Redis took a store: %+v", a)
	}
	e.do("CONFIG", "SET", "maxmemory", "0")
	if a := e.run(storeOp(key, 1, "gw~A~1", digest, result)); a.Verdict != scripts.Stored {
		t.Errorf("store: %+v", a)
	}
	if got := e.told(); len(got) != 2 {
		t.Errorf("it tells %q", got)
	}
	if got := e.metrics()["stored"]; got != "1" {
		t.Errorf("stored is %s", got)
	}
}

func TestTheTrailIsBounded(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.trail = 50
		for i := range 400 {
			e.run(claimOp(fmt.Sprint(key, i), "gw~A~1", true, digest, false))
		}
		if n := len(e.told()); n < 50 || n > 200 { // Redis drops whole nodes, of a hundred each
			t.Errorf("it has %d", n)
		}
	})
}

// TestAGroupTellsOfEach, in the script's loop and in define.
func TestAGroupTellsOfEach(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.trail = 1000
		const a, b = key + "a", key + "b"
		e.call(scripts.Flush{}, claimOp(a, "gw~A~1", true, digest, false).Noted("0 a"),
			claimOp(b, "gw~A~2", true, digest, false).Noted("0 b"))
		e.call(scripts.Flush{}, failOp(b, 1, "gw~A~2", "error", false).Noted("2 -"), lookOp(a, true),
			storeOp(a, 1, "gw~A~1", digest, result).Noted("1 -"), claimOp(b, "gw~A~3", true, digest, false).Noted("0 c"))
		d := "AQIDAAAAAAAAAAAAAAAAAA"
		e.expectStory("claimed - 0 T 1 gw~A~1 "+d+" "+a+" 0 a", "claimed - 0 T 1 gw~A~2 "+d+" "+b+" 0 b",
			"failed error 0 T 1 gw~A~2 "+d+" "+b+" 2 -", "stored - 200 T 1 gw~A~1 "+d+" "+a+" 1 -",
			"claimed error 0 T 2 gw~A~3 "+d+" "+b+" 0 c")
	})
}

// BenchmarkTrail is BenchmarkGroup with a trail.
func BenchmarkTrail(b *testing.B) {
	benchmarkGroup(b, scripts.Trail{Stream: stream, Keep: 10_000})
}
