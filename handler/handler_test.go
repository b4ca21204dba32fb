package handler_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// Headers that all answers to a webhook that reached the gate have in common.
const (
	named      = "Idempotency-Fingerprint: " + name
	first      = "Idempotency-Attempt: 1"
	replayed   = "Idempotency-Replayed: true"
	retryAfter = "Retry-After: 1"
)

func success(data string) string {
	return `{"status":"success","data":` + data + `,"fingerprint":"` + name + `"}`
}

func cached(data string) string {
	return `{"status":"cached","data":` + data + `,"fingerprint":"` + name + `"}`
}

const (
	failed      = `{"detail":"Internal processing error","fingerprint":"` + name + `"}`
	unavailable = `{"detail":"Cache service unavailable"}`
)

func TestTheFirstIsExecutedAndTheNextOnesReplayed(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(options()), h.open(options())
		h.expect(a.post(webhook), 200, success(`{"execution":1}`), "Idempotency-Status: executed", named, first)
		for _, r := range []*replica{a, b, a, b} {
			h.expect(fresh(r.post(webhook)), 200, cached(`{"execution":1}`), "Idempotency-Status: replayed", named, first,
				replayed, "Age: 0")
		}
		h.expectExecutions(1)
		h.expectCounts(map[string]int64{"total_requests": 5, "executed": 1, "stored": 1, "replayed": 4})
	})
}

func TestWhoComesWhileItRunsWaitsForTheResult(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		entered, release := h.blocked()
		executed := r.later(webhook)
		<-entered
		waited := r.later(webhook)
		r.bothWait()
		close(release)
		h.expect(<-executed, 200, success(`{"attempt":1}`), "Idempotency-Status: executed", named, first)
		h.expect(fresh(<-waited), 200, cached(`{"attempt":1}`), "Idempotency-Status: waited", named, first, replayed,
			"Age: 0")
		h.expectCounts(map[string]int64{"total_requests": 2, "executed": 1, "waited": 1})
	})
}

func TestWhoWaitedInVainIsToldToAskAgain(t *testing.T) {
	const processing = `{"status":"processing","data":null,"fingerprint":"` + name +
		`","detail":"This webhook is being processed: ask again"}`
	for _, status := range []int{409, 202, 425, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			onEach(t, func(t *testing.T, h *testbed) {
				r := h.openWith(shortWait(), handler.Options{ProcessingStatus: status}, func(*handler.Server) {})
				entered, release := h.blocked()
				executed := r.later(webhook)
				<-entered
				h.expect(r.post(webhook), status, processing, "Idempotency-Status: processing", named, first, retryAfter)
				h.expect(<-executed, status, processing, "Idempotency-Status: processing", named, first, retryAfter)
				close(release)
				h.eventually("the result is stored", func() bool { return h.recordOf().State == record.Done })
				if got := r.post(webhook); got.body != cached(`{"attempt":1}`) {
					t.Errorf("a retry is answered\n%v", got)
				}
				h.expectExecutions(1)
				h.expectCounts(map[string]int64{"total_requests": 3, "executed": 1, "stored": 1, "still_processing": 1,
					"late_answers": 1})
			})
		})
	}
}

func TestFailedLogicIs500AndARetryExecutesAgain(t *testing.T) {
	json := func(body string) logic.Result {
		return logic.Result{Status: 200, ContentType: record.JSON, Body: []byte(body)}
	}
	failures := map[string]struct {
		logic  func() (logic.Result, error)
		reason string
	}{
		"an error":               {func() (logic.Result, error) { return json(`{}`), errLogic }, "error"},
		"a panic":                {func() (logic.Result, error) { panic("the logic panics") }, "panic"},
		"a panic with an error":  {func() (logic.Result, error) { panic(errLogic) }, "panic"},
		"what is no JSON":        {func() (logic.Result, error) { return logic.JSON(math.NaN()) }, "error"},
		"nothing":                {func() (logic.Result, error) { return logic.Result{}, nil }, "unknown"},
		"an empty body":          {func() (logic.Result, error) { return json(""), nil }, "unknown"},
		"a body that is no JSON": {func() (logic.Result, error) { return json("booked"), nil }, "unknown"},
		"JSON and more":          {func() (logic.Result, error) { return json(`{},"status":"success"`), nil }, "unknown"},
		"two JSON values":        {func() (logic.Result, error) { return json("{}\n{}"), nil }, "unknown"},
		"half an object":         {func() (logic.Result, error) { return json(`{"a":1`), nil }, "unknown"},
		"a line end in a string": {func() (logic.Result, error) { return json("\"a\nb\""), nil }, "unknown"},
		"a status that is not final": {func() (logic.Result, error) {
			return logic.Result{Status: 302, ContentType: record.JSON, Body: []byte(`{}`)}, nil
		}, "unknown"},
		"no content type": {func() (logic.Result, error) { return logic.Result{Status: 200, Body: []byte(`{}`)}, nil },
			"unknown"},
		"an unknown outcome": {func() (logic.Result, error) {
			return logic.Result{}, fmt.Errorf("cut: %w", logic.ErrOutcomeUnknown)
		}, "unknown"},
		"more than MAX_RESULT_BYTES": {func() (logic.Result, error) { return logic.JSON(strings.Repeat("x", 2<<20)) },
			"too-large"},
	}
	for what, c := range failures {
		t.Run(what, func(t *testing.T) {
			onEach(t, func(t *testing.T, h *testbed) {
				r := h.open(options())
				h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
					if w.Attempt == 1 {
						return c.logic()
					}
					return logic.JSON(w.Attempt)
				})
				h.expect(r.post(webhook), 500, failed, "Idempotency-Status: failed", named, first)
				if s := h.recordOf(); s.State != record.Failed || s.Reason != c.reason {
					t.Errorf("the record is %+v, want failed, %s", s, c.reason)
				}
				h.expect(r.post(webhook), 200, success("2"), "Idempotency-Status: executed", named, "Idempotency-Attempt: 2")
				h.expect(fresh(r.post(webhook)), 200, cached("2"), "Idempotency-Status: replayed", named, "Idempotency-Attempt: 2",
					replayed, "Age: 0")
				h.expectCounts(map[string]int64{"total_requests": 3, "executed": 2, "failed": 1, "stored": 1, "replayed": 1})
			})
		})
	}
}

func TestWhoWaitsForAFailureIsToldOfIt(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		entered, release := make(chan struct{}), make(chan struct{})
		h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) {
			close(entered)
			<-release
			return logic.Result{}, errLogic
		})
		one, other := r.later(webhook), r.later(webhook)
		<-entered
		r.bothWait()
		close(release)
		h.expect(<-one, 500, failed, "Idempotency-Status: failed", named, first)
		h.expect(<-other, 500, failed, "Idempotency-Status: failed", named, first)
		h.expectCounts(map[string]int64{"total_requests": 2, "executed": 1, "failed": 1, "waited": 1})
	})
}

func TestWithoutRedisIs503(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(shortPatience())
		h.kill()
		h.expect(r.post(webhook), 503, unavailable, named, retryAfter)
		h.expect(r.post(webhook), 503, unavailable, named, retryAfter)
		h.expectExecutions(0)
	})
}

func TestAFullRedisIs503(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(shortPatience())
	h.server.Config("maxmemory", "1")
	h.expect(r.post(webhook), 503, unavailable, named, retryAfter)
	h.server.Config("maxmemory", "0")
	h.eventually("it is executed", func() bool { return r.post(webhook).status == 200 })
	h.expectExecutions(1)
}

func TestAForeignValueIs503AndSaysSo(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		redistest.Do(t, h.client, "SET", name, "somebody else's")
		h.expect(r.post(webhook), 503,
			`{"detail":"Cache service unavailable: a value that is not Oncegate's stands at this webhook's key"}`, named,
			retryAfter)
		if value := redistest.Do(t, h.client, "GET", name); value != "somebody else's" {
			t.Errorf("it is now %q", value)
		}
		h.expectExecutions(0)
		h.expectCounts(map[string]int64{"total_requests": 1, "unavailable": 1})
	})
}

func TestDataIsReplayedByteForByte(t *testing.T) {
	const stored = "{ \"b\":1.50, \"a\":\"<é\\u00e9&>\",\n\"a\":1e400 }"
	onEach(t, func(t *testing.T, h *testbed) {
		a, b := h.open(options()), h.open(options())
		h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) {
			return logic.Result{Status: 200, ContentType: record.JSON, Body: []byte(stored)}, nil
		})
		h.expect(a.post(webhook), 200, success(stored), "Idempotency-Status: executed", named, first)
		for _, r := range []*replica{a, a, b} {
			if got := r.post(webhook); got.body != cached(stored) {
				t.Errorf("replayed as %q", got.body)
			}
		}
	})
}

func TestAgeIsWholeSecondsAndNeverNegative(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		for _, c := range []struct {
			stored time.Duration // from now
			from   int
		}{{-90500 * time.Millisecond, 90}, {-999 * time.Millisecond, 0}, {time.Hour, 0}} {
			now := time.Now()
			h.setValue(record.Record{
				State: record.Done, Attempt: 1, Token: "token", Stored: now.Add(c.stored), Ends: now.Add(time.Hour),
				Result: record.Result{Status: 200, ContentType: record.JSON, Body: []byte(fmt.Sprint(c.from))},
			})
			var got response
			h.eventually("the replica has it", func() bool {
				got = r.post(webhook)
				return got.body == cached(fmt.Sprint(c.from))
			})
			var age int
			if n, err := fmt.Sscanf(got.header("Age"), "%d", &age); n != 1 || err != nil || age < c.from || age > c.from+5 {
				t.Errorf("stored %v from now, its age is %q", c.stored, got.header("Age"))
			}
		}
	})
}

func TestAMalformedPayloadIsToldAllThatIsWrong(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	for _, c := range []struct{ name, body, errors string }{
		{"everything", `{"dialogId":"","sequence":7.5,"variables":[]}`,
			`{"field":"dialogId","message":"dialogId must be a non-empty string of at most 512 bytes, but is empty"},` +
				`{"field":"nodeId","message":"nodeId must be a non-empty string of at most 512 bytes, but is missing"},` +
				`{"field":"sequence","message":"sequence must be a 64-bit integer (7 or \"7\"), but is a number with a ` +
				`fraction"},` +
				`{"field":"variables","message":"variables must be an object, but is an array"}`},
		{"half a character", `{"dialogId":"\ud800","nodeId":"n","sequence":7}`,
			`{"field":"dialogId","message":"dialogId must be a non-empty string of at most 512 bytes, but is cut within a ` +
				`character (a lone surrogate like \\ud800)"}`},
		{"a field twice", `{"dialogId":"d","nodeId":"n","sequence":7,"dialog\u0049d":"d"}`,
			`{"field":"dialogId","message":"dialogId must be a non-empty string of at most 512 bytes, but is given more ` +
				`than once"}`},
		{"no object", `["d","n",7]`, `{"field":"body","message":"body must be one JSON object in UTF-8, but is an array"}`},
		{"no body", ``,
			`{"field":"body","message":"body must be one JSON object in UTF-8, but is unreadable at byte offset 0: a value ` +
				`is missing"}`},
		{"two objects", webhook + webhook,
			`{"field":"body","message":"body must be one JSON object in UTF-8, but is unreadable at byte offset 76: more ` +
				`follows behind its end"}`},
		{"no UTF-8", "{\"dialogId\":\"\xff\"}",
			`{"field":"body","message":"body must be one JSON object in UTF-8, but is not valid UTF-8"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, r.post(c.body), 400, `{"detail":"Missing or malformed Cognigy.AI payload","errors":[`+c.errors+`]}`)
		})
	}
	h.expectExecutions(0)
	h.expectCounts(map[string]int64{"total_requests": 0}) // none has reached the gate
}

func TestABodyOfAnyTypeButAFormIsReadAsJSON(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	for i, header := range []string{
		"X-Nothing: at all", "Content-Type: application/json; charset=utf-8", "Content-Type: text/plain",
		"Content-Type: text/plain;charset=UTF-8",
		"Content-Type: application/octet-stream", "Content-Type:", "Content-Type: rubbish", "Content-Encoding:",
		"Content-Encoding: identity", "Content-Encoding: Identity",
	} {
		body := fmt.Sprintf(`{"dialogId":"d","nodeId":"n","sequence":"%d"}`, i)
		got := r.exchange(request("POST", "/webhook/cognigy", body, header))
		if got.header("Idempotency-Status") != "executed" {
			t.Errorf("%s:\n%v", header, got)
		}
	}
}

func TestFormsAndEncodedBodiesAre415(t *testing.T) {
	t.Parallel()
	const form = `{"detail":"A form is not read: send JSON, with Content-Type: application/json"}`
	const encoded = `{"detail":"A body with a Content-Encoding is not read: send plain JSON"}`
	h := onReal(t)
	r := h.open(options())
	for header, body := range map[string]string{
		"Content-Type: application/x-www-form-urlencoded":                form,
		"Content-Type: Application/X-WWW-Form-URLEncoded; charset=utf-8": form,
		"Content-Type: multipart/form-data; boundary=x":                  form,
		"Content-Encoding: gzip":                                         encoded,
		"Content-Encoding: gzip, identity":                               encoded,
	} {
		t.Run(header, func(t *testing.T) {
			expect(t, r.exchange(request("POST", "/webhook/cognigy", webhook, header)), 415, body)
		})
	}
	h.expectExecutions(0)
}

func TestOtherMethodsAndPaths(t *testing.T) {
	t.Parallel()
	const notFound = `{"detail":"Not found: webhooks go to /webhook/cognigy"}`
	h := onReal(t)
	r := h.open(options())
	for _, c := range []struct {
		method, path string
		status       int
		body         string
		headers      []string
	}{
		{"GET", "/webhook/cognigy", 405, `{"detail":"Method not allowed: use POST"}`, []string{"Allow: POST"}},
		{"HEAD", "/webhook/cognigy", 405, "", []string{"Allow: POST"}},
		{"PUT", "/webhook/cognigy", 405, `{"detail":"Method not allowed: use POST"}`, []string{"Allow: POST"}},
		{"OPTIONS", "/webhook/cognigy", 405, `{"detail":"Method not allowed: use POST"}`, []string{"Allow: POST"}},
		{"post", "/webhook/cognigy", 405, `{"detail":"Method not allowed: use POST"}`, []string{"Allow: POST"}},
		{"POST", "/healthz", 405, `{"detail":"Method not allowed: use GET, HEAD"}`, []string{"Allow: GET, HEAD"}},
		{"DELETE", "/readyz", 405, `{"detail":"Method not allowed: use GET, HEAD"}`, []string{"Allow: GET, HEAD"}},
		{"POST", "/", 404, notFound, nil},
		{"POST", "/webhook/cognigy/", 404, notFound, nil},
		{"POST", "/webhook/cognigy/" + name, 405, `{"detail":"Method not allowed: use GET, HEAD"}`,
			[]string{"Allow: GET, HEAD"}},
		{"POST", "/webhook/Cognigy", 404, notFound, nil},
		{"GET", "/metrics", 404, notFound, nil},
	} {
		t.Run(c.method+c.path, func(t *testing.T) {
			expect(t, r.exchange(request(c.method, c.path, "")), c.status, c.body, c.headers...)
		})
	}
}

func TestHealthAndReadiness(t *testing.T) {
	const alive, ready = `{"status":"alive"}`, `{"status":"ready"}`
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(shortPatience())
		h.expect(r.exchange(request("GET", "/healthz", "")), 200, alive)
		h.expect(r.exchange(request("GET", "/readyz", "")), 200, ready)
		h.expect(r.exchange(request("HEAD", "/healthz", "")), 200, "")
		h.expect(r.exchange(request("HEAD", "/readyz", "")), 200, "")
		h.kill()
		h.expect(r.exchange(request("GET", "/healthz", "")), 200, alive)
		h.expect(r.exchange(request("GET", "/readyz", "")), 503, unavailable, retryAfter)
		r.Drain()
		h.expect(r.exchange(request("GET", "/readyz", "")), 503, `{"detail":"Shutting down"}`, retryAfter)
		h.expect(r.exchange(request("HEAD", "/readyz", "")), 503, "", retryAfter)
	})
}

func TestAGatewayWhoseRedisRefusesWritesIsReadyAndSaysSo(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(h *testbed){
		"OOM":        func(h *testbed) { h.server.Config("maxmemory", "1") },
		"READONLY":   func(h *testbed) { redistest.Do(t, h.client, "REPLICAOF", "127.0.0.1", "1") },
		"NOREPLICAS": func(h *testbed) { h.server.Config("min-replicas-to-write", "1") },
		"MISCONF": func(h *testbed) { // it cannot save: its directory is gone
			dir := strings.Fields(strings.Trim(redistest.Do(t, h.client, "CONFIG", "GET", "dir"), "map[]"))[0]
			if err := os.RemoveAll(strings.TrimPrefix(dir, "dir:")); err != nil {
				t.Fatal(err)
			}
			h.server.Config("save", "3600 1")
			redistest.Do(t, h.client, "BGSAVE")
			h.eventually("it cannot save", func() bool {
				return strings.Contains(redistest.Do(t, h.client, "INFO", "persistence"), "rdb_last_bgsave_status:err")
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := onReal(t)
			r := h.open(shortPatience())
			status := func(answer response, want int) {
				t.Helper()
				if answer.status != want {
					t.Errorf("%d %s, want %d", answer.status, answer.body, want)
				}
			}
			status(r.post(webhook), 200)
			expect(t, r.exchange(request("GET", "/readyz", "")), 200, `{"status":"ready"}`)
			refuse(h)
			expect(t, r.exchange(request("GET", "/readyz", "")), 200, `{"status":"ready","writes":"refused"}`)
			status(r.post(webhook), 200)
			status(r.post(strings.Replace(webhook, ":7", ":8", 1)), 503)
		})
	}
}

func TestWhileDrainingWebhooksAreStillAnswered(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		r.Drain()
		h.expect(r.exchange(request("GET", "/readyz", "")), 503, `{"detail":"Shutting down"}`, retryAfter)
		h.expect(r.exchange(request("GET", "/healthz", "")), 200, `{"status":"alive"}`)
		h.expect(r.post(webhook), 200, success(`{"execution":1}`), "Idempotency-Status: executed", named, first)
	})
}

func TestReadinessComesBackWithRedis(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(shortPatience())
	readiness := func() int { return r.exchange(request("GET", "/readyz", "")).status }
	h.server.Kill()
	h.eventually("it is not ready", func() bool { return readiness() == 503 })
	h.server.Restart()
	h.eventually("it is ready", func() bool { return readiness() == 200 })
}

// A bug of ours must not end the process: every execution in it would block its webhook until its lease ends.
func TestAPanicInTheHandlerIsA500(t *testing.T) {
	var lines lines
	log := slog.New(slog.NewJSONHandler(&lines, nil))
	r := serve(t, handler.New(nil, nil, handler.Options{MaxBodyBytes: small, Log: log}), log, func(*handler.Server) {})
	r.testbed = &testbed{TB: t}
	t.Cleanup(r.shutdown)
	for range 2 {
		expect(t, r.post(webhook), 500, `{"detail":"Internal processing error"}`)
	}
	if logged := lines.String(); strings.Count(logged, `"panic in a handler"`) != 2 ||
		!strings.Contains(logged, "handler.go") {
		t.Errorf("logged: %s", logged)
	}
}

func TestEchoAnswersWithWhatItWasSent(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	h.setLogic(logic.Echo{}.Execute)
	before := time.Now().Unix()
	got := r.post(webhook)
	after := time.Now().Unix()
	for second := before; second <= after; second++ {
		if got.body == success(
			fmt.Sprintf(
				`{"processed":true,"dialogId":"d-0001","nodeId":"n-0001","timestamp":%d,"variables_updated":{"seats":2}}`, second,
			),
		) {
			return
		}
	}
	t.Errorf("answer\n%v\nbetween %d and %d", got, before, after)
}

func TestEchoEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.ExecutionTimeout = 50 * time.Millisecond
	r := h.open(o)
	h.setLogic(logic.Echo{Delay: time.Hour}.Execute)
	h.expect(r.post(webhook), 500, failed, "Idempotency-Status: failed", named, first)
	if s := h.recordOf(); s.Reason != "timeout" {
		t.Errorf("the record is %+v", s)
	}
}

// A byte order mark is not part of the body (RFC 8259, section 8.1): with and without it a body is the same webhook
// with the same digest, and the logic gets no mark.
func TestAByteOrderMarkIsNoneOfTheBody(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	var got atomic.Pointer[logic.Webhook]
	h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
		got.Store(&w)
		return logic.JSON("done")
	})
	for _, body := range []string{"\xef\xbb\xbf" + webhook, webhook, "\xef\xbb\xbf" + webhook} {
		if answer := r.post(body); answer.status != 200 || answer.header("Idempotency-Fingerprint") != name {
			t.Errorf("answer\n%v", answer)
		}
	}
	if w := got.Load(); w == nil || string(w.Body) != webhook {
		t.Errorf("the logic got %+v", w)
	}
	h.expectExecutions(1)
	h.expectCounts(map[string]int64{"executed": 1, "replayed": 2, "mismatches": 0})
}
