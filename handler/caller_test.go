package handler_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-json"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

func TestTheLogicGetsTheWholeWebhook(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		got := make(chan logic.Webhook, 10)
		h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
			got <- w
			if w.Attempt == 1 {
				return logic.Result{}, errLogic
			}
			return logic.JSON(nil)
		})
		const body = ` {"more":[1], "sequence":"-7", "dialogId":"Zo\u00eb:\\", "variables": {"b":1,"a":2} , "nodeId":"n"}`
		r.post(body)
		r.post(body)
		r.post(`{"dialogId":"d","nodeId":"n","sequence":1}`)
		for attempt := int64(1); attempt <= 2; attempt++ {
			w := <-got
			if w.DialogID != `Zoë:\` || w.NodeID != "n" || w.Sequence != -7 || string(w.Variables) != `{"b":1,"a":2}` ||
				string(w.Body) != body ||
				w.Fingerprint != fingerprint.Of([]byte(`Zoë:\`), []byte("n"), -7) || w.Attempt != attempt {
				t.Errorf("attempt %d gets %+v", attempt, w)
			}
		}
		if w := <-got; string(w.Variables) != `{}` {
			t.Errorf("no variables are %q", w.Variables)
		}
	})
}

func TestACallerThatHangsUpChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		entered, release := h.blocked()
		c, err := dial(r.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, request("POST", "/webhook/cognigy", webhook)); err != nil {
			t.Fatal(err)
		}
		<-entered
		c.Close()
		retry := r.later(webhook)
		r.bothWait()
		close(release)
		h.expect(fresh(<-retry), 200, cached(`{"attempt":1}`), "Idempotency-Status: waited", named, first, replayed, "Age: 0")
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": 2, "executed": 1, "stored": 1, "waited": 1})
	})
}

func TestAResultIsThereForWhoHungUpAndComesBackLater(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(options()), h.open(options())
		entered, release := h.blocked()
		c, err := dial(a.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, request("POST", "/webhook/cognigy", webhook)); err != nil {
			t.Fatal(err)
		}
		<-entered
		c.Close()
		close(release)
		h.eventually("the result is stored", func() bool { return h.recordOf().State == record.Done })
		h.expect(fresh(b.post(webhook)), 200, cached(`{"attempt":1}`), "Idempotency-Status: replayed", named, first, replayed,
			"Age: 0")
		h.expectExecutions(1)
	})
}

// fasthttp reuses the memory of a request for the next one on its connection. Here the callers are answered and send
// other webhooks while the logic still holds what the first ones sent.
func TestWhatTheLogicHasIsItsOwn(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(shortWait())
		release := make(chan struct{})
		h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
			<-release
			return echo(w)
		})
		const connections, webhooks = 8, 6
		forAll(connections, func(n int) {
			c, err := dial(r.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for i := range webhooks {
				h.eventually("it runs", func() bool { // a busy machine may need longer for a claim than a caller waits
					return c.exchange(request("POST", "/webhook/cognigy", numbered(n, i))).status == 409
				})
			}
		})
		close(release)
		forAll(connections, func(n int) {
			for i := range webhooks {
				var got response
				h.eventually("it is stored", func() bool { got = r.post(numbered(n, i)); return got.status == 200 })
				expectEcho(t, got, n, i)
			}
		})
		h.expectExecutions(connections * webhooks)
	})
}

// Replays read memory that the cache shares with other requests: no part of one webhook may appear in the answer to
// another.
func TestAnswersAreNeverMixedUp(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(options()), h.open(options())
		h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) { return echo(w) })
		const connections, webhooks, rounds = 8, 5, 6
		forAll(connections, func(n int) {
			c, err := dial([]string{a.addr, b.addr}[n%2])
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for round := range rounds {
				for i := range webhooks {
					other := (n + round) % connections // over the rounds, each connection sends every webhook
					expectEcho(t, c.exchange(request("POST", "/webhook/cognigy", numbered(other, i))), other, i)
				}
			}
		})
		h.expectExecutions(connections * webhooks)
		h.expectCounts(map[string]int64{"total_requests": connections * webhooks * rounds, "executed": connections * webhooks,
			"mismatches": 0})
	})
}

// numbered returns a webhook that differs from all others in every field, and also in length.
func numbered(n, i int) string {
	fill := strings.Repeat(string(rune('a'+n)), 10+7*i)
	return fmt.Sprintf(`{"dialogId":"d-%d-%d-%s","nodeId":"n\u002d%d-%d","sequence":%d,"variables":{"fill":"%s"}}`, n, i,
		fill, n, i, 100*n+i, fill)
}

// echo answers with everything that the logic was given.
func echo(w logic.Webhook) (logic.Result, error) {
	return logic.JSON([]any{w.DialogID, w.NodeID, w.Sequence, json.RawMessage(w.Variables), string(w.Body),
		w.Fingerprint.String()})
}

func expectEcho(t *testing.T, got response, n, i int) {
	t.Helper()
	fill := strings.Repeat(string(rune('a'+n)), 10+7*i)
	dialog, node, sequence := fmt.Sprintf("d-%d-%d-%s", n, i, fill), fmt.Sprintf("n-%d-%d", n, i), 100*n+i
	want, err := json.Marshal([]any{dialog, node, sequence, map[string]string{"fill": fill}, numbered(n, i),
		fingerprint.Of([]byte(dialog), []byte(node), int64(sequence)).String()})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got.body, `"data":`+string(want)+`,"fingerprint":`) {
		t.Errorf("%d.%d is answered\n%v, want\n%s", n, i, got, want)
	}
}

// forAll calls f with 0 to n-1 concurrently.
func forAll(n int, f func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

func TestAStormOverThreeServersExecutesOnce(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		var replicas []*replica
		for range 3 {
			replicas = append(replicas, h.open(options()))
		}
		h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
			time.Sleep(200 * time.Millisecond) // the storm comes meanwhile
			return logic.JSON(map[string]any{"booked": true, "attempt": w.Attempt})
		})
		const storm = 500
		answers := make([]response, storm)
		forAll(storm, func(i int) { answers[i] = replicas[i%3].post(webhook) })

		const data = `{"attempt":1,"booked":true}`
		bodies := make(map[string]int)
		for _, a := range answers {
			bodies[a.body]++
			if a.status != 200 || (a.body == success(data)) != (a.header("Idempotency-Status") == "executed") {
				t.Errorf("answer\n%v", a)
			}
		}
		if bodies[success(data)] != 1 || bodies[cached(data)] != storm-1 {
			t.Errorf("answers %v", bodies)
		}
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": storm, "executed": 1, "stored": 1, "duplicates": storm - 1,
			"mismatches": 0})
	})
}

func TestAnExecutionThatLostItsLeaseSharesNothingWithTheNextOne(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.LockTTL = time.Second
	r := h.open(o)
	entered, stop := make(chan struct{}), make(chan struct{})
	h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
		if w.Attempt == 1 {
			close(entered)
			<-stop
			if w.Attempt != 1 {
				t.Errorf("the first execution is now attempt %d", w.Attempt)
			}
		}
		clear(w.Body) // it is the logic's own
		return logic.JSON(map[string]int64{"attempt": w.Attempt})
	})
	answered := r.later(webhook)
	<-entered
	failed := record.Record{State: record.Failed, Attempt: 2, Token: "another", FailedAt: time.Now(), Reason: "error"}
	redistest.Do(t, h.client, "SET", name, string(record.Append(nil, failed)))
	if a := <-answered; !strings.Contains(a.String(), `{"attempt":3}`) {
		t.Errorf("answer %s", a)
	}
	close(stop)
}
