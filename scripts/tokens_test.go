package scripts_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// metered is a class whose tenant may begin three executions at once, and one more each hour.
func (e *engine) metered() []scripts.Class {
	class := e.class()
	class.Tokens, class.Every, class.Burst, class.Counters = "cognigy:t:acme:tokens", time.Hour, 3, "acme/"
	return []scripts.Class{e.class(), class}
}

func asks(n int, token string) scripts.Op {
	return of(1, scripts.Claim(fmt.Sprint("cognigy:t:acme:fp:", n), token, scripts.Question{First: true}))
}

func TestAClaimThatBeginsAnExecutionTakesAToken(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		classes := e.metered()
		expect := func(what string, got []scripts.Answer, want ...scripts.Verdict) {
			t.Helper()
			for i, a := range got {
				if a.Verdict != want[i] || a.Verdict == scripts.Limited && (a.Left <= 0 || a.Left > time.Hour) {
					t.Errorf("%s: answer %d is %+v, want %s", what, i, a, want[i])
				}
			}
		}
		const claimed, limited = scripts.Claimed, scripts.Limited
		expect("two in one call", e.callOf(classes, asks(1, "a"), asks(2, "b")), claimed, claimed)
		expect("a repeat takes none", e.callOf(classes, asks(1, "a"), asks(1, "a")), claimed, claimed)
		expect("who waits takes none", e.callOf(classes, asks(1, "x"), asks(2, "y")), scripts.InProgress, scripts.InProgress)
		done := record.Record{State: record.Done, Attempt: 1, Token: "a", Result: record.Result{Status: 200,
			ContentType: record.JSON, Body: []byte("1")}}
		expect("a store takes none", e.callOf(classes, of(1, scripts.Store("cognigy:t:acme:fp:1", done))), scripts.Stored)
		expect("a replay takes none", e.callOf(classes, asks(1, "x"), asks(1, "y")), scripts.Done, scripts.Done)
		others := scripts.Claim("cognigy:fp:1", "n", scripts.Question{})
		expect("another's takes none of these", e.callOf(classes, others), claimed)
		expect("the third, and then none", e.callOf(classes, asks(3, "c"), asks(4, "d"), asks(1, "x"), asks(5, "e")),
			claimed, limited, scripts.Done, limited)
		expect("nor in the next call", e.callOf(classes, asks(4, "d")), limited)
		expect("a look takes none", e.callOf(classes, of(1, scripts.Look("cognigy:t:acme:fp:4", scripts.Question{}))),
			scripts.Free)
		failed := of(1, scripts.Fail("cognigy:t:acme:fp:2", 1, "b", "error", record.Digest{1}, false, 0))
		expect("a failure", e.callOf(classes, failed), scripts.Failed)
		expect("the next attempt is an execution too", e.callOf(classes, asks(2, "f")), limited)

		t.Run("two classes that share a key share its tokens", func(t *testing.T) {
			e.do("SET", "cognigy:t:acme:tokens", "1 "+strconv.FormatInt(e.now().UnixMilli(), 10))
			other := scripts.Claim("cognigy:t:acme:fp:21", "m", scripts.Question{})
			expect("one for both", e.callOf(append(classes, classes[1]), asks(20, "m"), of(2, other)), claimed, limited)
		})
		now := e.now()
		e.do("SET", "cognigy:t:acme:tokens", "0.5 "+strconv.FormatInt(now.Add(-90*time.Minute).UnixMilli(), 10))
		expect("two, of a half and an hour and a half", e.callOf(classes, asks(2, "f"), asks(4, "g"), asks(5, "h")),
			claimed, claimed, limited)
		e.do("SET", "cognigy:t:acme:tokens", "1 "+strconv.FormatInt(now.Add(-900*time.Hour).UnixMilli(), 10))
		expect("no more than three gather", e.callOf(classes, asks(11, "i"), asks(12, "j"), asks(13, "k"), asks(14, "l")),
			claimed, claimed, claimed, limited)
		if left := e.do("PTTL", "cognigy:t:acme:tokens"); left > "9" && len(left) > 8 {
			t.Errorf("the tokens live for %s ms: they are full again after three hours", left)
		}
	})
}

func TestAClockThatGoesBackGivesNoTokensAndTakesNone(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		ahead := strconv.FormatInt(e.now().Add(100*time.Hour).UnixMilli(), 10)
		e.do("SET", "cognigy:t:acme:tokens", "1.25 "+ahead)
		got := e.callOf(e.metered(), asks(1, "a"), asks(2, "b"))
		if got[0].Verdict != scripts.Claimed || got[1].Verdict != scripts.Limited || got[1].Left > time.Hour {
			t.Errorf("%+v", got)
		}
	})
}
