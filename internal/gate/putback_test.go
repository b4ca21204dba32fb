package gate_test

import (
	"context"
	"flag"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// losses are the ways in which one Redis forgets all.
var losses = map[string]func(h *testbed){
	"FLUSHALL": func(h *testbed) { redistest.Do(h, h.client, "FLUSHALL") },
	"a restart": func(h *testbed) {
		h.server.Kill()
		h.server.Restart()
	},
}

func forgetful() gate.Options {
	o := options()
	o.Settle = 3 * time.Second
	return o
}

func TestWhatWasAnsweredIsPutBack(t *testing.T) {
	t.Parallel()
	for loss, lose := range losses {
		for what, change := range map[string]func(o *gate.Options){
			"as it is":        func(*gate.Options) {},
			"without journal": func(o *gate.Options) { o.JournalBytes = 0 },
			"without settling": func(o *gate.Options) {
				o.Settle = 0
				o.JournalBytes = 0 // with a journal the faster replica would win
			},
		} {
			t.Run(loss+", "+what, func(t *testing.T) {
				t.Parallel()
				h := onReal(t)
				o := forgetful()
				change(&o)
				a, b := h.open(o), h.open(o)
				const webhooks = 300 // some groups
				for n := range webhooks {
					a.send(n)
				}
				lose(h)
				twice := 0
				for n := range webhooks {
					for _, r := range []*replica{b, a} {
						answer := r.send(n)
						if answer.Outcome != gate.Replayed && answer.Outcome != gate.Waited {
							twice++
						}
					}
				}
				if what == "as it is" {
					if twice > 0 {
						t.Errorf("%d webhooks were executed again", twice)
					}
					h.expectExecutions(webhooks)
					h.expectSome(map[string]int64{"restored": webhooks, "settlings": 1})
				} else if twice != webhooks {
					t.Errorf("%d webhooks were executed again, of %d: this test can't fail", twice, webhooks)
				}
			})
		}
	}
}

func TestWhoFetchedAResultPutsItBackToo(t *testing.T) {
	t.Parallel()
	for way, fetch := range map[string]func(h *testbed, b *replica, owner <-chan gate.Answer, release chan struct{}){
		"by a claim": func(h *testbed, b *replica, owner <-chan gate.Answer, release chan struct{}) {
			close(release)
			<-owner
			h.expect(b.send(1), gate.Replayed, `{"attempt":1}`)
		},
		"by waiting": func(h *testbed, b *replica, _ <-chan gate.Answer, release chan struct{}) {
			looks := func() int { return calls(redistest.Do(h, h.client, "INFO", "commandstats"), "client|caching") }
			atStart := looks()
			waiting := b.later(1)
			h.eventually("it waits", func() bool { return looks() > atStart })
			close(release)
			h.expect(<-waiting, gate.Waited, `{"attempt":1}`)
		},
	} {
		t.Run(way, func(t *testing.T) {
			h := onReal(t)
			a, b := h.open(forgetful()), h.open(forgetful())
			entered, release := h.blocked()
			owner := a.later(1)
			<-entered
			fetch(h, b, owner, release)
			if err := a.Close(context.Background()); err != nil { // now only b knows
				t.Fatal(err)
			}
			redistest.Do(t, h.client, "FLUSHALL")
			c := h.open(forgetful())
			h.expect(c.send(1), gate.Replayed, `{"attempt":1}`)
			h.expectExecutions(1)
		})
	}
}

func TestFailuresAndForgettingArePutBackTooSoThatAttemptsGoOn(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	a, b := h.open(forgetful()), h.open(forgetful())
	h.setLogic(func(_ context.Context, attempt int64) (record.Result, error) {
		if attempt == 1 {
			return record.Result{}, errLogic
		}
		return answer(`{}`), nil
	})
	h.expect(a.send(1), gate.Failed, "")
	redistest.Do(t, h.client, "FLUSHALL")
	if got := b.send(1); got.Outcome != gate.Executed || got.Attempt != 2 {
		t.Errorf("%s, attempt %d", name(got.Outcome), got.Attempt)
	}
}

func TestAResultThatHasEndedIsNotPutBack(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := forgetful()
	o.ResultTTL, o.LockTTL = time.Second, 500*time.Millisecond
	a := h.open(o)
	a.send(1)
	time.Sleep(o.ResultTTL) // it is to end
	redistest.Do(t, h.client, "FLUSHALL")
	h.expect(a.send(1), gate.Executed, `{"execution":2}`)
}

// TestAJournalThatRedisRefusesAtFirstIsPutBackInTheEnd: the new primary takes no writes yet.
func TestAJournalThatRedisRefusesAtFirstIsPutBackInTheEnd(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	a := h.open(forgetful())
	for n := range 200 {
		a.send(n)
	}
	h.forgetAndRefuse(time.Second)
	h.eventually("putting back was refused", func() bool {
		return strings.Contains(redistest.Do(t, h.client, "INFO", "errorstats"), "NOREPLICAS")
	})
	h.server.Config("min-replicas-to-write", "0")
	h.eventually("all is put back", func() bool { return h.metrics()["restored"] == 200 })
	for n := range 200 {
		if got := a.send(n); got.Outcome != gate.Replayed && got.Outcome != gate.Waited {
			t.Fatalf("webhook %d: %s", n, name(got.Outcome))
		}
	}
	h.expectExecutions(200)
}

// TestARedisThatIsAwayForLongerThanTheJournalsAgeGetsItAll: from the signal on nothing leaves the journal for its age.
func TestARedisThatIsAwayForLongerThanTheJournalsAgeGetsItAll(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := forgetful()
	o.JournalAge = 4 * time.Second
	a := h.open(o)
	for n := range 20 {
		a.send(n)
	}
	h.server.Kill()
	time.Sleep(o.JournalAge + time.Second)
	h.server.Restart()
	h.eventually("all is put back", func() bool { return h.metrics()["restored"] == 20 })
	for n := range 20 {
		if got := a.send(n); got.Outcome != gate.Replayed && got.Outcome != gate.Waited {
			t.Errorf("webhook %d: %s", n, name(got.Outcome))
		}
	}
	h.expectExecutions(20)
}

var journals = flag.Int("journals", 4, "MiB of journal that each of five replicas puts back in "+
	"TestFiveFullJournalsAtOnce")

// TestFiveFullJournalsAtOnce: running executions are safe first, and settling lasts as long as it must.
func TestFiveFullJournalsAtOnce(t *testing.T) {
	const replicas, size = 5, 8 << 10
	h := onReal(t)
	o := forgetful()
	o.JournalBytes, o.Settle = *journals<<20, 3*time.Second
	o.LockTTL = 10 * time.Second // renewals go on meanwhile
	o.WaitTimeout = time.Minute
	for range replicas {
		h.open(o)
	}
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		return answer(`"` + strings.Repeat("x", size) + `"`), nil
	})
	webhooks := o.JournalBytes / (size + 1024)
	var sent sync.WaitGroup
	for _, r := range h.replicas {
		sent.Go(func() {
			for n := range webhooks {
				r.send(n)
			}
		})
	}
	sent.Wait()
	entered, release := h.blocked()
	running := h.replicas[0].later(-1)
	<-entered
	before := h.executions.Load()
	start := time.Now()
	redistest.Do(t, h.client, "FLUSHALL")
	next := h.replicas[1].later(-2)
	h.eventually("the running execution is put back", func() bool { return h.recordOf(-1).State == record.InProgress })
	t.Logf("the running execution was back after %v", time.Since(start))
	<-entered // of next, the first that is decided
	t.Logf("five journals of %d MiB: decided again after %v, %d records put back", *journals, time.Since(start),
		h.metrics()["restored"])
	close(release)
	h.expectOne(<-running, gate.Executed)
	h.expectOne(<-next, gate.Executed)
	for _, r := range h.replicas {
		for n := 0; n < webhooks; n += 10 {
			if got := r.send(n); got.Outcome != gate.Replayed {
				t.Fatalf("webhook %d: %s", n, name(got.Outcome))
			}
		}
	}
	if got := h.executions.Load(); got != before+1 {
		t.Errorf("%d executions after the loss", got-before)
	}
}

func TestALostConnectionAloneBringsNoJournalBack(t *testing.T) {
	t.Parallel()
	const webhooks, size = 200, 1 << 10
	h := onReal(t)
	a := h.openBehindProxy(forgetful())
	h.setLogic(func(context.Context, int64) (record.Result, error) {
		return answer(`"` + strings.Repeat("x", size) + `"`), nil
	})
	for n := range webhooks {
		a.send(n)
	}
	received := func() (bytes int) {
		for line := range lines(redistest.Do(h, h.client, "INFO", "stats")) {
			if text, ok := strings.CutPrefix(line, "total_net_input_bytes:"); ok {
				bytes, _ = strconv.Atoi(text)
			}
		}
		return bytes
	}
	before := received()
	a.proxy.Cut()
	a.proxy.Mend()
	h.eventually("it serves again", func() bool { return a.send(webhooks).Outcome != gate.Unavailable })
	time.Sleep(500 * time.Millisecond) // it is to be shown that nothing is sent
	if sent := received() - before; sent > webhooks*size/4 {
		t.Errorf("%d bytes were sent after a connection was lost", sent)
	}
	redistest.Do(t, h.client, "FLUSHALL") // and then it does
	h.eventually("all is put back", func() bool { return h.metrics()["restored"] >= webhooks })
}
