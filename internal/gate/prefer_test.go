package gate_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
)

// prefer sends a webhook whose caller waits that long for an execution.
func (r *replica) prefer(n int, wait time.Duration) <-chan gate.Answer {
	answered := make(chan gate.Answer, 1)
	w := r.testbed.request(n, "body")
	w.Wait = &wait
	go func() { answered <- r.Do(w) }()
	return answered
}

func TestACallerWaitsAsLongAsItPrefers(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		_, release := h.blocked()
		const wait = 300 * time.Millisecond
		start := time.Now()
		h.expect(<-r.prefer(1, wait), gate.Processing, "")
		if took := time.Since(start); took < wait || took > options().WaitTimeout/2 {
			t.Errorf("its own execution: answered after %v", took)
		}
		start = time.Now()
		h.expect(<-r.prefer(1, wait), gate.Processing, "")
		if took := time.Since(start); took < wait || took > options().WaitTimeout/2 {
			t.Errorf("another one's: answered after %v", took)
		}
		h.expect(<-r.prefer(1, 0), gate.Processing, "")
		patient := r.prefer(1, time.Hour)
		r.waits(1)
		close(release)
		h.expect(<-patient, gate.Waited, `{"attempt":1}`)
		h.expect(<-r.prefer(1, 0), gate.Replayed, `{"attempt":1}`)
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": 5, "executed": 1, "late_answers": 1, "still_processing": 2,
			"waited": 1, "replayed": 1})
	})
}

func TestNobodyWaitsLongerThanWaitTimeoutWhateverItPrefers(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.WaitTimeout = 2 * time.Second
	r := h.open(o)
	_, release := h.blocked()
	defer close(release)
	h.expect(<-r.prefer(1, time.Hour), gate.Processing, "")
}

// A caller that prefers not to wait is told "processing" only once an execution runs: otherwise nobody would have the
// webhook.
func TestWhoDoesNotWaitLosesNothingWhileRedisIsSlow(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.RedisTimeout, o.LockTTL = 5*time.Second, 20*time.Second
	r := h.openBehindProxy(o)
	_, release := h.blocked()
	r.proxy.Hold()
	hurried := r.prefer(1, 0)
	select {
	case a := <-hurried:
		t.Fatalf("answered %s before its claim was", name(a.Outcome))
	case <-time.After(500 * time.Millisecond):
	}
	r.proxy.Mend()
	h.expect(<-hurried, gate.Processing, "")
	close(release)
	h.eventually("it is executed", func() bool { return h.recordOf(1).State == record.Done })
	h.expectExecutions(1)
	h.expectCounts(map[string]int64{"total_requests": 1, "executed": 1, "late_answers": 1})
}

func TestWhoDoesNotWaitIsToldThatRedisIsAway(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openBehindProxy(impatient())
	r.proxy.Stall()
	h.expect(<-r.prefer(1, 0), gate.Unavailable, "")
	r.proxy.Mend()
	h.eventually("it is executed", func() bool {
		a := <-r.prefer(1, 0)
		return a.Outcome == gate.Processing || a.Outcome == gate.Replayed
	})
}

// The last claim's answer about another replica's execution is outdated once that lease has ended.
func TestWhoDoesNotWaitIsNotToldOfAnExecutionWhoseLeaseHasEnded(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.RedisTimeout, o.LockTTL = 5*time.Second, 20*time.Second
	r := h.openBehindProxy(o)
	_, release := h.blocked()
	const lease = 2 * time.Second
	h.record(1, record.Record{
		State: record.InProgress, Attempt: 1, Token: "crashed", Started: time.Now(), Lease: lease,
		Deadline: time.Now().Add(lease),
		Digest:   digestOf("body"),
	})
	patient := r.later(1)
	h.expect(<-r.prefer(1, 0), gate.Processing, "") // the other one's lease runs
	r.proxy.Hold()
	time.Sleep(lease + 300*time.Millisecond) // the claim that takes over is held
	hurried := r.prefer(1, 0)
	select {
	case a := <-hurried:
		t.Fatalf("answered %s before the claim was", name(a.Outcome))
	case <-time.After(300 * time.Millisecond):
	}
	r.proxy.Mend()
	h.expect(<-hurried, gate.Processing, "")
	close(release)
	h.expect(<-patient, gate.Executed, `{"attempt":2}`)
}

func TestOneWebhookTakesHalfOfThePlacesAtMost(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.MaxWaiters = 10
	r := h.open(o)
	entered, release := h.blocked()
	answers := make(chan gate.Answer)
	first := r.later(1)
	<-entered
	for range 20 {
		go func() { answers <- r.send(1) }()
	}
	for range 16 {
		a := <-answers
		h.expect(a, gate.Overloaded, "")
	}
	other := r.later(2)
	<-entered // there is room for others
	close(release)
	h.expect(<-first, gate.Executed, `{"attempt":1}`)
	for range 4 {
		h.expect(<-answers, gate.Waited, `{"attempt":1}`)
	}
	h.expect(<-other, gate.Executed, `{"attempt":1}`)
	h.expectCounts(map[string]int64{"executed": 2, "waited": 4, "overloaded": 16})
}

func TestACallerWithAnotherBodyIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		var log written
		o := options()
		o.WaitTimeout = 2 * time.Second
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		a, b := h.open(o), h.open(o)
		entered, release := h.blocked()
		first := a.laterBody(1, "one")
		<-entered
		told := func(what string, got gate.Answer, outcome gate.Outcome, mismatch bool) {
			t.Helper()
			if got.Outcome != outcome || got.Mismatch != mismatch {
				t.Errorf("%s: %s, mismatch %t, want %s, %t", what, name(got.Outcome), got.Mismatch, name(outcome), mismatch)
			}
		}
		told("joined, while it runs", a.sendBody(1, "two"), gate.Processing, true)
		told("elsewhere, while it runs", b.sendBody(1, "two"), gate.Processing, true)
		told("the same, while it runs", b.sendBody(1, "one"), gate.Processing, false)
		told("its own", <-first, gate.Processing, false)
		joined := a.laterBody(1, "two")
		a.waits(1)
		close(release)
		told("joined", <-joined, gate.Waited, true)
		told("replayed", a.sendBody(1, "two"), gate.Replayed, true)
		h.eventually("nobody waits elsewhere any more", func() bool { return b.sendBody(1, "one").Outcome == gate.Replayed })
		told("replayed elsewhere", b.sendBody(1, "three"), gate.Replayed, true)
		told("the same, replayed", b.sendBody(1, "one"), gate.Replayed, false)
		begun := make(chan struct{})
		h.setLogic(func(context.Context, int64) (record.Result, error) {
			close(begun)
			a.waits(2)
			return record.Result{}, errLogic
		})
		first = a.laterBody(2, "one")
		<-begun
		told("failed", a.sendBody(2, "two"), gate.Failed, true)
		<-first
		for n, times := range map[int]int{1: 2, 2: 1} { // once a replica
			said := strings.Count(log.String(), `another body came with the same dialogId`)
			of := 0
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "another body came") && strings.Contains(line, h.request(n, "").Fingerprint.String()) {
					of++
				}
			}
			if of != times {
				t.Errorf("webhook %d: said %d times, want %d (of %d)", n, of, times, said)
			}
		}
	})
}

// written is a log to look into.
type written struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *written) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(line)
}

func (l *written) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}
