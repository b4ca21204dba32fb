package handler_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/record"
)

// returning makes the logic return a result.
func (h *testbed) returning(r logic.Result) {
	h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) { return r, nil })
}

func plainResponse(*handler.Server) {}

func TestAResultInItsEnvelope(t *testing.T) {
	kept := []logic.Header{{Name: "Location", Value: "/bookings/7"}}
	for what, c := range map[string]struct {
		result   logic.Result
		status   int
		executed string
		replayed string
	}{
		"JSON": {logic.Result{Status: 201, ContentType: record.JSON, Headers: kept, Body: []byte(`{"a":"<b>"}`)},
			200, success(`{"a":"<b>"}`), cached(`{"a":"<b>"}`)},
		"text": {logic.Result{Status: 200, ContentType: "text/plain", Body: []byte("say \"<hi>\"\n")}, 200,
			success(`"say \"<hi>\"\n"`), cached(`"say \"<hi>\"\n"`)},
		"what is no text": {logic.Result{Status: 200, ContentType: "image/png", Body: []byte("\xff{")}, 200,
			success(`"\ufffd{"`), cached(`"\ufffd{"`)},
		"nothing": {logic.Result{Status: 204, ContentType: "application/octet-stream"}, 200, success(`null`),
			cached(`null`)},
		"a refusal": {logic.Result{Status: 404, ContentType: record.JSON, Body: []byte(`{"no":"seat"}`)}, 404,
			rejected(`{"no":"seat"}`), rejected(`{"no":"seat"}`)},
		"a bare refusal": {logic.Result{Status: 410, ContentType: "application/octet-stream"}, 410, rejected(`null`),
			rejected(`null`)},
		"null": {logic.Result{Status: 200, ContentType: record.JSON, Body: []byte(`null`)}, 200, success(`null`),
			cached(`null`)},
	} {
		t.Run(what, func(t *testing.T) {
			onEach(t, func(t *testing.T, h *testbed) {
				r := h.open(options())
				h.returning(c.result)
				h.expect(r.post(webhook), c.status, c.executed, "Idempotency-Status: executed", named, first)
				for range 2 {
					h.expect(fresh(r.post(webhook)), c.status, c.replayed, "Idempotency-Status: replayed", named, first, replayed,
						"Age: 0")
				}
			})
		})
	}
}

func rejected(data string) string {
	return `{"status":"rejected","data":` + data + `,"fingerprint":"` + name + `"}`
}

func TestAResultPassedThroughAsItIs(t *testing.T) {
	for what, result := range map[string]logic.Result{
		"JSON": {Status: 201, ContentType: record.JSON, Headers: []logic.Header{{Name: "Location", Value: "/7"},
			{Name: "X-More", Value: "50% off"}}, Body: []byte(`{"a":1}`)},
		"text":    {Status: 404, ContentType: "text/plain; charset=utf-8", Body: []byte("any\x00bytes\xff")},
		"nothing": {Status: 200, ContentType: "application/octet-stream"},
	} {
		t.Run(what, func(t *testing.T) {
			onEach(t, func(t *testing.T, h *testbed) {
				r := h.openWith(options(), handler.Options{Passthrough: true}, plainResponse)
				h.returning(result)
				own := []string{"Content-Type: " + result.ContentType, named, first}
				for _, header := range result.Headers {
					own = append(own, header.Name+": "+header.Value)
				}
				for _, more := range [][]string{{"Idempotency-Status: executed"}, {"Idempotency-Status: replayed", replayed,
					"Age: 0"}, {"Idempotency-Status: replayed", replayed, "Age: 0"}} {
					got, want := fresh(r.post(webhook)), response{result.Status, sorted(append(more, own...)), string(result.Body)}
					if got.String() != want.String() {
						t.Errorf("answer\n%v\n\nwant\n%v", got, want)
					}
				}
			})
		})
	}
}

func TestErrorsAreOursAlsoWhereResultsArePassedThrough(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openWith(shortWait(), handler.Options{Passthrough: true}, plainResponse)
	h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) { return logic.Result{}, errLogic })
	h.expect(r.post(webhook), 500, failed, "Idempotency-Status: failed", named, first)
	_, release := h.blocked()
	if got := r.post(webhook); got.status != 409 || got.header("Idempotency-Status") != "processing" {
		t.Errorf("answer\n%v", got)
	}
	close(release)
}

func TestLogicThatRefusesIs503(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) {
		return logic.Result{}, logic.ErrRefused
	})
	h.expect(r.post(webhook), 503, `{"detail":"Upstream unavailable: nothing was executed, ask again"}`, named, first,
		retryAfter)
}

func TestCallersAreToldWhenTheLogicWantsThemToComeAgain(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	for _, c := range []struct {
		kind   error
		after  time.Duration
		status int
		tells  string
	}{
		{logic.ErrRefused, time.Minute, 503, "60"}, {logic.ErrRefused, time.Minute + time.Millisecond, 503, "61"},
		{logic.ErrRefused, time.Nanosecond, 503, "1"}, {logic.ErrRefused, 2 * time.Hour, 503, "3600"},
		{logic.ErrRefused, math.MaxInt64, 503, "3600"}, {logic.ErrRefused, 0, 503, "1"}, {logic.ErrRefused, -time.Second, 503,
			"1"},
		{logic.ErrOutcomeUnknown, 7 * time.Second, 500, "7"}, {logic.ErrOutcomeUnknown, 0, 500, ""},
	} {
		h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) {
			return logic.Result{}, fmt.Errorf("it rests: %w", logic.RetryAfter(c.kind, c.after))
		})
		if got := r.post(webhook); got.status != c.status || got.header("Retry-After") != c.tells {
			t.Errorf("%v after %v: answer\n%v", c.kind, c.after, got)
		}
	}
}

func TestAPoisonedWebhookIs500AndSaysHowItIsFreed(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.MaxAttempts = 1
	r := h.open(o)
	h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) {
		return logic.Result{}, errors.New("broken")
	})
	h.expect(r.post(webhook), 500, failed, "Idempotency-Status: failed", named, first)
	h.expect(r.post(webhook), 500, `{"status":"poisoned","data":null,"fingerprint":"`+name+
		`","detail":"Its executions failed or crashed MAX_ATTEMPTS times: `+
		`it is not executed any more, until a person decides (oncegate poisoned)"}`, "Idempotency-Status: poisoned", named,
		first)
}

func TestADoubtfulWebhookIs500AndSaysWhoDecides(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.StopInDoubt = true
	r := h.open(o)
	h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) {
		return logic.Result{}, logic.ErrOutcomeUnknown
	})
	h.expect(r.post(webhook), 500, failed, "Idempotency-Status: failed", named, first)
	h.expect(r.post(webhook), 500, `{"status":"doubtful","data":null,"fingerprint":"`+name+
		`","detail":"An earlier attempt may have `+
		`had its effect and nobody knows: it is not executed any more, until a person decides (oncegate doubtful)"}`,
		"Idempotency-Status: doubtful", named, first)
}

func TestTooMuchAtOnceIs503(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.MaxExecutions = 1
	r := h.open(o)
	entered, release := h.blocked()
	running := r.later(webhook)
	<-entered
	other := strings.Replace(webhook, `"sequence":7`, `"sequence":8`, 1)
	got := r.post(other)
	if got.status != 503 || got.body != `{"detail":"Overloaded: nothing was executed, ask again"}` ||
		got.header("Retry-After") != "1" {
		t.Errorf("answer\n%v", got)
	}
	close(release)
	<-running
}

func TestAnotherBodyIs422WhereThatIsSet(t *testing.T) {
	t.Parallel()
	const other = `{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"variables":{"seats":3}}`
	const refused = `{"detail":"Another body came before with this identity: it is a different ` +
		`webhook, or was changed"}`
	h := onReal(t)
	o := options()
	o.RejectMismatch = true
	r := h.open(o)
	entered, release := h.blocked()
	executed := r.later(webhook)
	<-entered
	h.expect(r.post(other), 422, refused, "Idempotency-Status: mismatch", "Idempotency-Mismatch: true", named, first)
	close(release)
	<-executed
	h.expect(r.post(other), 422, refused, "Idempotency-Status: mismatch", "Idempotency-Mismatch: true", named, first)
	h.expectExecutions(1)
}

func TestAResultIsFetchedLater(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		get := func(path string) response { return r.exchange(request("GET", "/webhook/cognigy/"+path, "")) }
		digits := name[len("cognigy:fp:"):]
		for _, path := range []string{name, digits} {
			h.expect(get(path), 404,
				`{"detail":"No webhook with this fingerprint is known: it never came, or its time is over"}`, named)
		}
		entered, release := h.blocked()
		executed := r.later(webhook)
		<-entered
		h.expect(get(digits), 202, `{"status":"processing","data":null,"fingerprint":"`+name+
			`","detail":"This webhook is being processed: ask again"}`,
			"Idempotency-Status: processing", named, retryAfter)
		close(release)
		<-executed
		for _, path := range []string{name, digits, "cognigy%3Afp%3A" + digits} {
			h.expect(fresh(get(path)), 200, cached(`{"attempt":1}`), "Idempotency-Status: replayed", named, first, replayed,
				"Age: 0")
		}
		if got := r.exchange(request("HEAD", "/webhook/cognigy/"+name, "")); got.status != 200 || got.body != "" {
			t.Errorf("HEAD is answered\n%v", got)
		}
		for _, path := range []string{"7", digits + "0", "cognigy:fp:", "x" + digits[1:], "%2e", digits + "%2f"} {
			h.expect(get(path), 400, `{"detail":"A fingerprint is 64 hex digits, with or without cognigy:fp: before them"}`)
		}
		for _, path := range []string{digits + "/more", digits + "/", "../cognigy/" + digits} {
			h.expect(get(path), 404, `{"detail":"Not found: webhooks go to /webhook/cognigy"}`)
		}
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": 1, "executed": 1, "duplicates": 0})
	})
}

func TestTheLogicGetsTheHeadersThatAreHandedOn(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openWith(options(), handler.Options{ForwardHeaders: []string{"traceparent", "X-Tenant", "X-Missing"}},
		plainResponse)
	got := make(chan []logic.Header, 1)
	h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
		got <- w.Headers
		return logic.JSON(nil)
	})
	r.exchange(request("POST", "/webhook/cognigy", webhook, "Traceparent: 00-1-2-01", "x-tenant: a", "X-Other: b",
		"X-Tenant: c", "Authorization: secret"))
	want := []logic.Header{{Name: "traceparent", Value: "00-1-2-01"}, {Name: "X-Tenant", Value: "a"},
		{Name: "X-Tenant", Value: "c"}}
	if headers := <-got; len(headers) != 3 || headers[0] != want[0] || headers[1] != want[1] || headers[2] != want[2] {
		t.Errorf("the logic gets %v", headers)
	}
}

func TestAHeaderThatConnectionNamesIsNotHandedOn(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openWith(options(), handler.Options{ForwardHeaders: []string{"traceparent", "X-Tenant"}}, plainResponse)
	got := make(chan []logic.Header, 1)
	h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
		got <- w.Headers
		return logic.JSON(nil)
	})
	for n, c := range [][]string{
		{"Connection: X-Tenant"}, {"Connection: keep-alive, x-tenant"}, {"Connection: close,X-TENANT"},
		{"Connection: keep-alive", "Connection: Keep-Alive,  X-Tenant"}, {"Connection: X-Tenant", "Connection: close"},
	} {
		body := strings.Replace(webhook, `"sequence":7`, fmt.Sprintf(`"sequence":%d`, n), 1)
		r.exchange(request("POST", "/webhook/cognigy", body, append(c, "Traceparent: 00-1-2-01", "X-Tenant: a")...))
		if headers := <-got; len(headers) != 1 || headers[0].Name != "traceparent" {
			t.Errorf("with %q the logic gets %v", c, headers)
		}
	}
}
