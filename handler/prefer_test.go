package handler_test

import (
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler"
)

func TestACallerMayPreferNotToWait(t *testing.T) {
	t.Parallel()
	const processing = `{"status":"processing","data":null,"fingerprint":"` + name +
		`","detail":"This webhook is being processed: ask again"}`
	h := onReal(t)
	o := options()
	o.WaitTimeout = 5 * time.Second
	r := h.openWith(o, handler.Options{}, func(*handler.Server) {})
	_, release := h.blocked()
	ask := func(prefer string) response { return r.exchange(request("POST", "/webhook/cognigy", webhook, prefer)) }
	for _, c := range []struct {
		prefer, applied string
		status          int
		waits           time.Duration
	}{
		{"Prefer: wait=0", "wait=0", 409, 0}, // the first: it executes
		{"Prefer: wait=1", "wait=1", 409, time.Second},
		{"Prefer: respond-async", "respond-async, wait=0", 202, 0},
		{"Prefer: respond-async, wait=1", "respond-async, wait=1", 202, time.Second},
		{"Prefer: wait=0, wait=100", "wait=0", 409, 0},
		{"Prefer: handling=lenient; x=\"y\"\r\nprefer: WAIT = \"0\" ; foo", "wait=0", 409, 0},
		{"Prefer: wait=99999999999999999999", "wait=5", 409, o.WaitTimeout},
		{"Prefer: wait=-1, wait=, wait, wait=0.5", "", 409, o.WaitTimeout},
	} {
		start := time.Now()
		got := ask(c.prefer)
		took := time.Since(start)
		if got.status != c.status || got.body != processing || got.header("Preference-Applied") != c.applied {
			t.Errorf("%s is answered\n%v", c.prefer, got)
		}
		if took < c.waits-50*time.Millisecond || c.waits < o.WaitTimeout && took > c.waits+3*time.Second {
			t.Errorf("%s is answered after %v", c.prefer, took)
		}
	}
	close(release)
	h.eventually("it is done", func() bool { return ask("Prefer: wait=0").status == 200 })
	h.expect(fresh(ask("Prefer: respond-async")), 200, cached(`{"attempt":1}`), "Idempotency-Status: replayed", named,
		first, replayed,
		"Age: 0", "Preference-Applied: respond-async, wait=0")
	h.expectExecutions(1)
}

func TestAnAnswerToAnotherBodySaysSo(t *testing.T) {
	t.Parallel()
	const other = `{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"variables":{"seats":3}}`
	const mismatch = "Idempotency-Mismatch"
	h := onReal(t)
	r := h.open(shortWait())
	entered, release := h.blocked()
	running := r.later(webhook)
	<-entered
	if got := r.post(other); got.status != 409 || got.header(mismatch) != "true" {
		t.Errorf("while it runs\n%v", got)
	}
	if got := <-running; got.header(mismatch) != "" {
		t.Errorf("its own body\n%v", got)
	}
	close(release)
	h.eventually("it is done", func() bool { return r.post(webhook).status == 200 })
	for range 3 { // also from this replica's caches
		if got := r.post(other); got.status != 200 || got.header(mismatch) != "true" {
			t.Errorf("when it is done\n%v", got)
		}
		if got := r.post(webhook); got.status != 200 || got.header(mismatch) != "" {
			t.Errorf("its own body, when it is done\n%v", got)
		}
	}
}
