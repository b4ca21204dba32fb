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

// expire ends the lease of the record in progress.
func (e *engine) expire() {
	e.Helper()
	r := e.recordOf()
	r.Deadline = e.now().Add(-time.Second)
	e.setValue(r)
}

func (e *engine) livesFor() time.Duration {
	e.Helper()
	ms, err := strconv.Atoi(e.do("PTTL", key))
	if err != nil {
		e.Fatal(err)
	}
	return time.Duration(ms) * time.Millisecond
}

// claim makes a first claim for logic that cannot ask.
func (e *engine) claim(token string) scripts.Answer {
	e.Helper()
	return e.run(claimOp(key, token, true, digest, false))
}

func TestWhatAFailureLeavesInDoubtTheNextAttemptIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		for reason, doubt := range map[string]bool{
			"error": false, "refused": false, "rejected": false, "unanswered": false, "unstarted": false,
			"unknown": true, "panic": true, "timeout": true, "too-large": true, "lease-lost": true, "shutdown": true,
			"exited": true, "unasked": true, "of-a-later-version": true,
		} {
			e.do("FLUSHALL")
			e.claim("a")
			e.run(failOp(key, 1, "a", reason, false))
			if r := e.recordOf(); r.Doubt != doubt {
				t.Errorf("after %q the record's doubt is %v", reason, r.Doubt)
			}
			if a := e.claim("b"); a.Doubt != doubt || a.Before != reason {
				t.Errorf("after %q: %+v", reason, a)
			}
			if a := e.claim("b"); a.Verdict != scripts.Claimed || a.Doubt != doubt {
				t.Errorf("after %q a repeated claim is told %+v", reason, a)
			}
		}
	})
}

func TestNoCertainFailureEndsAnEarlierDoubtButForgettingDoes(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		for _, reason := range []string{"error", "refused", "rejected", "unanswered", "unstarted"} {
			e.do("FLUSHALL")
			e.claim("a")
			e.expire()
			e.claim("b")
			e.run(failOp(key, 2, "b", reason, false))
			if a := e.claim("c"); !a.Doubt || a.Attempt != 3 {
				t.Errorf("after a crash and %q: %+v", reason, a)
			}
		}
		e.run(scripts.Forget(key, true))
		if a := e.claim("d"); a.Doubt || a.Failures != 0 {
			t.Errorf("after a forget: %+v", a)
		}
	})
}

func TestAnExecutionThatRedisForgotFailsWithWhatItKnew(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.run(failOp(key, 3, "ours", "error", true))
		if a := e.claim("next"); !a.Doubt {
			t.Errorf("%+v", a)
		}
		e.do("FLUSHALL")
		for reason, failures := range map[string]int64{"timeout": 3, "shutdown": 2} {
			for _, stood := range []record.Record{
				{},
				{State: record.Failed, Attempt: 2, Token: "other", FailedAt: e.now(), Reason: "error", Failures: 2},
				{State: record.Failed, Attempt: 0, Token: "other", FailedAt: e.now(), Reason: "unanswered"},
			} {
				e.do("DEL", key)
				if stood.Token != "" {
					e.setValue(stood)
				}
				e.run(scripts.Fail(key, 3, "ours", reason, digest, false, 2))
				if r := e.recordOf(); r.Attempt != 3 || !r.Doubt || r.Failures != failures || r.Digest != digest {
					t.Errorf("after %s, where %+v had stood: %+v", reason, stood, r)
				}
			}
		}
		e.do("FLUSHALL")
		e.run(scripts.Renew(key, 3, "ours", digest, true, 2))
		if r := e.recordOf(); !r.Doubt || r.Failures != 2 {
			t.Errorf("a renewal put back %+v", r)
		}
	})
}

func TestAVerdictIsWrittenAndAnswersWhateverTheSettings(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.maxAttempts = 1
		e.claim("ours")
		e.expire()
		over := e.recordOf().Deadline
		a := e.claim("next")
		r := e.recordOf()
		if a.Verdict != scripts.Poisoned || string(a.Record) != string(record.Append(nil, r)) {
			t.Fatalf("%+v", a)
		}
		if r.State != record.Failed || r.Attempt != 1 || r.Token != "ours" || r.Reason != record.Expired || !r.Doubt ||
			!r.FailedAt.Equal(over) || r.Failures != 1 || r.Verdict != record.Poisoned || r.Digest != digest {
			t.Errorf("written: %+v", r)
		}
		if left := e.livesFor(); left <= ttl {
			t.Errorf("it lives for %v", left)
		}
		e.maxAttempts = 0
		for range 2 {
			e.do("PEXPIRE", key, "1000")
			if a := e.claim("later"); a.Verdict != scripts.Poisoned || e.livesFor() <= ttl {
				t.Errorf("under other settings: %+v, and it lives for %v", a, e.livesFor())
			}
		}
		if m := e.metrics(); m["executed"] != "1" || m["failed"] != "" || m["takeovers"] != "" {
			t.Errorf("counted %v", m)
		}

		if a := e.run(renewOp(key, 1, "ours", digest)); a.Verdict != scripts.Refused ||
			string(a.Record) != string(record.Append(nil, r)) {
			t.Errorf("its owner's renewal: %+v", a)
		}
		if a := e.run(failOp(key, 1, "ours", "lease-lost", false)); a.Verdict != scripts.Failed ||
			e.recordOf().Verdict != record.Poisoned {
			t.Errorf("its owner's failure: %+v, and %+v stands", a, e.recordOf())
		}
		if a := e.run(storeOp(key, 1, "ours", digest, result)); a.Verdict != scripts.Stored {
			t.Errorf("its owner's result: %+v", a)
		}
		if a := e.claim("later"); a.Verdict != scripts.Done {
			t.Errorf("then: %+v", a)
		}
	})
}

func TestAFailureThatWasToldGetsItsVerdictFromTheNextDelivery(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.claim("a")
		e.run(failOp(key, 1, "a", "timeout", false))
		stood := e.recordOf()
		e.stop = true
		if a := e.claim("b"); a.Verdict != scripts.Doubtful {
			t.Fatalf("%+v", a)
		}
		r := e.recordOf()
		if stood.Verdict = record.Doubtful; string(record.Append(nil, r)) != string(record.Append(nil, stood)) {
			t.Errorf("the verdict changed %+v into %+v", stood, r)
		}
		if a := e.run(storeOp(key, 1, "a", digest, result)); a.Verdict != scripts.Refused {
			t.Errorf("an execution that had told its end stores: %+v", a)
		}
		e.stop, e.maxAttempts = false, 1
		if a := e.claim("b"); a.Verdict != scripts.Doubtful {
			t.Errorf("a verdict was replaced by another: %+v", a)
		}
		e.run(scripts.Forget(key, false))
		if a := e.claim("b"); a.Verdict != scripts.Claimed || a.Attempt != 3 {
			t.Errorf("after a forget: %+v", a)
		}
	})
}

func TestWithStopAnAttemptInDoubtIsGrantedOnlyToLogicThatAsks(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.stop = true
		asks := scripts.Question{Digest: digest, Asks: true}
		for _, crash := range []bool{true, false} {
			e.do("FLUSHALL")
			e.claim("a")
			if left := e.livesFor(); left <= ttl {
				t.Errorf("what is in progress lives for %v", left)
			}
			if crash {
				e.expire()
			} else {
				e.run(failOp(key, 1, "a", "unknown", false))
				if left := e.livesFor(); left <= ttl {
					t.Errorf("what failed in doubt lives for %v", left)
				}
			}
			if a := e.run(scripts.Look(key, asks)); a.Verdict != scripts.Free {
				t.Errorf("a look of who asks: %+v", a)
			}
			if a := e.run(scripts.Claim(key, "b", asks)); a.Verdict != scripts.Claimed || !a.Doubt || a.Attempt != 2 {
				t.Errorf("a claim of who asks: %+v", a)
			}
			e.run(failOp(key, 2, "b", "unasked", true))
			if r := e.recordOf(); r.Verdict != record.NoVerdict || !r.Doubt || r.Failures != map[bool]int64{true: 1,
				false: 1}[crash] {
				t.Errorf("no clear answer: %+v", r)
			}
			if a := e.run(scripts.Claim(key, "c", asks)); a.Verdict != scripts.Claimed || a.Attempt != 3 {
				t.Errorf("the next one asks again: %+v", a)
			}
			e.run(failOp(key, 3, "c", "unasked", true))
			if a := e.claim("d"); a.Verdict != scripts.Doubtful {
				t.Errorf("who does not ask: %+v", a)
			}
		}
		e.do("FLUSHALL")
		e.claim("a")
		e.run(failOp(key, 1, "a", "error", false))
		if a := e.claim("b"); a.Verdict != scripts.Claimed {
			t.Errorf("after a failure for certain: %+v", a)
		}
		e.run(failOp(key, 2, "b", "error", false))
		if left := e.livesFor(); left > ttl {
			t.Errorf("a failure for certain lives for %v", left)
		}
	})
}

func TestAFailureOnRecordMayBePutBackAsItStands(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.claim("a")
		e.run(failOp(key, 1, "a", "timeout", false))
		value := []byte(e.do("GET", key))
		if a := e.run(scripts.Restore(key, value)); a.Verdict != scripts.Stored {
			t.Errorf("over itself: %+v", a)
		}
		e.stop = true
		e.claim("b")
		judged := e.do("GET", key)
		if a := e.run(scripts.Restore(key, value)); a.Verdict != scripts.Refused || e.do("GET", key) != judged {
			t.Errorf("over the verdict on it: %+v, %q stands", a, e.do("GET", key))
		}
		e.do("DEL", key)
		e.run(scripts.Restore(key, []byte(judged)))
		if left := e.livesFor(); left <= ttl {
			t.Errorf("a verdict that was put back lives for %v", left)
		}
	})
}

// TestWhatIsNoneOfOurVerdictsSpoilsNoCall: otherwise the word in a record would become the word of the answer.
func TestWhatIsNoneOfOurVerdictsSpoilsNoCall(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		digits := string(digest.AppendText(nil))
		for _, planted := range []string{
			"F1 1 x - 1 timeout 1 1 1 claimed -\n", "F1 1 x - 1 timeout 1 1 1 settling -\n",
			"F1 1 x - 1 timeout 1 1 1 forgiven -\n",
			"F1 1 x - 1 timeout 1 1 9007199254740992 - -\n", "F1 1 x - 1 timeout 9007199254740992 1 1 - -\n",
			"D1 1 x " + digits + " 1 99999999999999999999 200 - text/plain\n",
			"D1 99999999999999999999 x " + digits + " 1 1 200 - text/plain\n",
			"P1 1 x " + digits + " 1 1 1 0 99999999999999999999 -\n",
		} {
			e.do("SET", key, planted)
			e.maxAttempts = 1
			reply := e.call(scripts.Flush{}, e.claims("ours"), claimOp(key+planted, "ours", true, digest, false))
			if reply.Answers[0].Verdict != scripts.Foreign || reply.Answers[1].Verdict != scripts.Claimed ||
				e.do("GET", key) != planted {
				t.Errorf("%q: %+v, and %q stands", planted, reply.Answers, e.do("GET", key))
			}
		}
	})
}

func (e *engine) claims(token string) scripts.Op { return claimOp(key, token, true, digest, false) }

func TestNoPastMakesARecordUnreadable(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		kind := result
		kind.Headers = []record.Header{{Name: "x", Value: strings.Repeat("z", 3550)}}
		for _, f := range []record.Record{
			{Attempt: 12345, Token: strings.Repeat("n", 40) + "~RANDOM~1", Reason: "unanswered"},
			{Attempt: 1, Token: strings.Repeat("y", 500) + "~Z~1", Reason: strings.Repeat("r", 500)},
		} {
			line := fmt.Sprintf("12345,1795502670285,1795502670285,unanswered,%s", strings.Repeat("n", 40))
			f.State, f.FailedAt, f.Past = record.Failed, e.now(), strings.Join([]string{line, line, line, line}, ";")
			e.setValue(f)
			token := strings.Repeat("o", 40) + "~ABCDEFGHIJKL~1a"
			if a := e.claim(token); a.Verdict != scripts.Claimed || e.recordOf().Attempt != f.Attempt+1 {
				t.Errorf("%+v, and %+v stands", a, e.recordOf())
			}
			if a := e.run(storeOp(key, f.Attempt+1, token, digest, kind)); a.Verdict != scripts.Stored ||
				e.recordOf().State != record.Done {
				t.Errorf("%+v, and %+v stands", a, e.recordOf())
			}
		}
		e.setValue(record.Record{State: record.Failed, Attempt: 1, Token: "x", FailedAt: e.now(), Reason: "error",
			Past: strings.Repeat("x", 3900)})
		if a := e.claim("ours"); a.Verdict != scripts.Foreign {
			t.Errorf("over a past that is none of ours: %+v", a)
		}
	})
}

// TestAFailureThatHasEndedIsNotPutBack: attempts have begun anew since, and the late attempt would win over their
// result.
func TestAFailureThatHasEndedIsNotPutBack(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.claim("new")
		e.run(storeOp(key, 1, "new", digest, result))
		old := record.Record{State: record.Failed, Attempt: 5, Token: "old", FailedAt: e.now().Add(-ttl - time.Second),
			Reason: "timeout", Doubt: true}
		if a := e.run(scripts.Restore(key, record.Append(nil, old))); a.Verdict != scripts.Expired ||
			e.recordOf().State != record.Done {
			t.Errorf("%+v, and %+v stands", a, e.recordOf())
		}
		e.do("DEL", key)
		old.Verdict = record.Doubtful // its deliveries have prolonged it
		if a := e.run(scripts.Restore(key, record.Append(nil, old))); a.Verdict != scripts.Restored {
			t.Errorf("a verdict: %+v", a)
		}
		e.do("DEL", key)
		e.stop, old.Verdict = true, record.NoVerdict // its doubt lives for longer
		if a := e.run(scripts.Restore(key, record.Append(nil, old))); a.Verdict != scripts.Restored {
			t.Errorf("a doubt, with stop: %+v", a)
		}
	})
}

func TestARecordKeepsTheLastFourAttemptsBeforeIt(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		for i := 1; i <= 6; i++ {
			e.run(claimOp(key, fmt.Sprintf("gw-%d~X~%d", i, i), true, digest, false))
			if i%2 == 0 {
				e.expire()
			} else {
				e.run(failOp(key, int64(i), fmt.Sprintf("gw-%d~X~%d", i, i), "timeout", false))
			}
		}
		e.run(claimOp(key, "gw-7~X~1", true, digest, false))
		e.run(storeOp(key, 7, "gw-7~X~1", digest, result))
		r := e.recordOf()
		var got []string
		for _, a := range r.Attempts() {
			got = append(got, fmt.Sprint(a.Number, " ", a.How, " ", a.Replica))
			if since := e.now().Sub(a.Began); since < 0 || since > time.Minute || a.Ended.Sub(a.Began) < -time.Second {
				t.Errorf("attempt %d from %v to %v", a.Number, a.Began, a.Ended)
			}
		}
		if want := "[3 timeout gw-3 4 expired gw-4 5 timeout gw-5 6 expired gw-6]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
		e.run(scripts.Forget(key, false))
		if r := e.recordOf(); len(r.Attempts()) != 4 || r.Attempts()[3].How != "done" {
			t.Errorf("after a forget: %+v", r.Attempts())
		}
	})
}

func TestAPersonsResultAnswersFromThenOn(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		e.claim("ours")
		e.expire()
		found := record.Record{State: record.Done, Attempt: 1, Digest: digest, Result: result}
		if a := e.run(scripts.Resolve(key, found)); a.Verdict != scripts.Resolved {
			t.Fatalf("%+v", a)
		}
		r := e.recordOf()
		if r.Attempt != 2 || r.Token != record.Person || string(r.Result.Body) != string(result.Body) || r.Digest != digest ||
			r.Ends.Sub(r.Stored) != ttl || r.Attempts()[0].How != record.Expired {
			t.Errorf("%+v", r)
		}
		if a := e.run(storeOp(key, 1, "ours", digest, other)); a.Verdict != scripts.Refused {
			t.Errorf("its execution comes late: %+v", a)
		}
		standing := e.do("GET", key)
		e.do("DEL", key)
		if a := e.run(scripts.Restore(key, []byte(standing))); a.Verdict != scripts.Restored {
			t.Errorf("Redis forgot it: %+v", a)
		}
		e.run(scripts.Forget(key, false))
		if a := e.run(scripts.Restore(key, []byte(standing))); a.Verdict != scripts.Refused {
			t.Errorf("a person forgot it: %+v", a)
		}
		if a := e.run(scripts.Resolve(key, found)); a.Verdict != scripts.Refused {
			t.Errorf("of an attempt that stands no more: %+v", a)
		}
	})
}

// TestAnOperationThatBreaksOffHidesNothing: an error in the middle of a call must not look as if nothing had been done.
func TestAnOperationThatBreaksOffHidesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		bad := record.Record{State: record.Done, Attempt: 1, Token: "x", Digest: digest, Result: result}
		reply := e.call(scripts.Flush{}, claimOp(key, "a", true, digest, false), scripts.Restore(key+"2", nil),
			scripts.Store(key+"3", bad), claimOp(key+"4", "b", true, digest, false))
		var got []scripts.Verdict
		for _, a := range reply.Answers {
			got = append(got, a.Verdict)
		}
		if want := "[claimed foreign restored claimed]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
		// A missing digest or class breaks off its own operation only. An unknown letter hides the operations behind it.
		digits := string(digest.AppendText(nil))
		source := readScript(t)
		call := e.client.B().Eval().Script(source).Numkeys(8).
			Key("cognigy:metrics", "cognigy:flush:test", key+"5", key+"6", key+"7", key+"8", key+"9", key+"10").
			Arg("1", "0", "60000", "0", "1", "3600000", "0- 3600000 60000 0").
			Arg("c000100 a "+digits+" ").
			Arg("s000200D 1 b", "text/plain", "x").
			Arg("c001100 a " + digits + " ").
			Arg("f999 1 a " + digits + " error 0 0").
			Arg("c").
			Arg("dance").Build()
		values, err := e.client.Do(context.Background(), call).ToArray()
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, value := range values[4:] {
			answer, err := value.ToArray()
			if err != nil {
				words = append(words, value.String())
				continue
			}
			word, _ := answer[0].ToString()
			words = append(words, word)
		}
		if want := `[{"Value":1,"Type":"int64"} error error error error error]`; fmt.Sprint(words) != want {
			t.Errorf("%v, want %s", words, want)
		}
	})
}
