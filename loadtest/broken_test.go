package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oncegate/oncegate/internal/redistest"
)

// broken is a proxy before a real replica that breaks a promise: once, or each time that it can.
type broken struct {
	honest http.Handler
	fault  func(c call)
	always bool
	count  atomic.Int64
	last   atomic.Value // fingerprint of the last answer
	mu     sync.Mutex   // one delivery at a time is served: none waits in the gateway for another one
}

// call is one delivery.
type call struct {
	*broken
	w    http.ResponseWriter
	r    *http.Request
	body []byte
}

const faultAt = 30 // the number of the delivery for which the promise is broken

func (b *broken) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := call{b, w, r, body}
	if b.count.Add(1) == faultAt || b.always {
		b.fault(c)
		return
	}
	answer := c.ask(body)
	b.last.Store(answer.Header().Get("Idempotency-Fingerprint"))
	c.tell(answer)
}

// ask returns the replica's answer to a body.
func (c call) ask(body []byte) *httptest.ResponseRecorder {
	request := c.r.Clone(c.r.Context())
	request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer := httptest.NewRecorder()
	c.honest.ServeHTTP(answer, request)
	return answer
}

func (c call) tell(answer *httptest.ResponseRecorder) {
	maps.Copy(c.w.Header(), answer.Header())
	c.w.WriteHeader(answer.Code)
	_, _ = c.w.Write(answer.Body.Bytes())
}

func TestABrokenGatewayIsFound(t *testing.T) {
	t.Parallel()
	s := own(t)
	replica, err := url.Parse(s.Targets("")[0])
	if err != nil {
		t.Fatal(err)
	}
	client := redistest.Client(t, strings.TrimPrefix(s.RedisURL(), "redis://"))
	redis := func(args ...string) string { return redistest.Do(t, client, args...) }
	const metrics = "cognigy:metrics"

	for name, c := range map[string]struct {
		scenario string
		fault    func(c call)
		always   bool
		want     []string // texts of the report; none: the promise holds
	}{
		"that keeps all": {scenario: "storm", fault: func(c call) { c.tell(c.ask(c.body)) }},
		"that executes twice": {
			scenario: "storm",
			fault: func(c call) {
				redis("DEL", c.last.Load().(string))
				// The replica drops the result that it kept as soon as Redis has told it of the change.
				for answer := c.ask(c.body); ; answer = c.ask(c.body) {
					if answer.Header().Get("Idempotency-Status") == "executed" {
						c.tell(answer)
						return
					}
				}
			},
			want: []string{"VIOLATED  executions  2 executions of 1 webhooks", "1 executed twice, first: cognigy:fp:"},
		},
		"that executes a webhook more than it was sent": {
			scenario: "first-time",
			fault: func(c call) {
				c.ask([]byte(`{"dialogId":"not sent","nodeId":"n","sequence":1}`))
				c.tell(c.ask(c.body))
			},
			want: []string{"VIOLATED  executions ", "VIOLATED  counters    total_requests is "},
		},
		"that answers differently": {
			scenario: "storm",
			fault: func(c call) {
				answer := c.ask(c.body)
				answer.Body = bytes.NewBuffer(bytes.Replace(answer.Body.Bytes(), []byte(`"processed":true`),
					[]byte(`"processed":null`), 1))
				c.tell(answer)
			},
			want: []string{`VIOLATED  same data   1 with other data, first: cognigy:fp:`, `"processed":null`},
		},
		"that answers with another webhook's result": {
			scenario: "first-time",
			fault: func(c call) {
				answer := c.ask(c.body)
				answer.Header().Set("Idempotency-Fingerprint", c.last.Load().(string))
				c.tell(answer)
			},
			want: []string{"VIOLATED  same data   1 for another webhook, first: delivery "},
		},
		"that loses a count": {
			scenario: "storm",
			fault: func(c call) {
				redis("HINCRBY", metrics, "total_requests", "-1")
				c.tell(c.ask(c.body))
			},
			want: []string{"VIOLATED  counters    executed + duplicates + unavailable is 50, want 49; total_requests is " +
				"49, want 50"},
		},
		"that counts a replay as waited": {
			scenario: "storm",
			fault: func(c call) {
				redis("HINCRBY", metrics, "replayed", "-1")
				redis("HINCRBY", metrics, "waited", "1")
				c.tell(c.ask(c.body))
			},
			want: []string{"VIOLATED  counters    replayed is 48, want 49"},
		},
		"that takes over what nobody left": {
			scenario: "storm",
			fault: func(c call) {
				redis("HINCRBY", metrics, "takeovers", "1")
				c.tell(c.ask(c.body))
			},
			want: []string{"VIOLATED  executions  1 takeovers, although no replica was killed"},
		},
		"that answers 500": {
			scenario: "first-time",
			fault: func(c call) {
				http.Error(c.w, "oops", http.StatusInternalServerError)
			},
			want: []string{"VIOLATED  no 5xx      1 answered otherwise than promised, first: delivery ", "got 500 oops",
				"VIOLATED  executions "},
		},
		"that hangs up": {
			scenario: "storm",
			fault: func(c call) {
				c.ask(c.body)
				panic(http.ErrAbortHandler)
			},
			want: []string{"VIOLATED  no 5xx      1 without an answer, first: delivery "},
		},
		"that takes what is malformed": {
			scenario: "bad-input",
			fault: func(c call) {
				answer := c.ask(c.body)
				answer.Code = http.StatusOK
				c.tell(answer)
			},
			always: true, want: []string{"not answered 400, first: delivery ", "malformed, got 200", "held      executions"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(&broken{honest: httputil.NewSingleHostReverseProxy(replica), fault: c.fault,
				always: c.always})
			defer server.Close()
			printed, err := played(t, t.TempDir(), append([]string{c.scenario, "--rate", "100", "--duration", "500ms"},
				on(s, server.URL)...)...)
			if errors.Is(err, errViolated) != (len(c.want) > 0) || !errors.Is(err, errViolated) && err != nil {
				t.Fatalf("%v\n%s", err, printed)
			}
			for _, want := range c.want {
				if !strings.Contains(printed, want) {
					t.Errorf("not found: %q\n%s", want, printed)
				}
			}
		})
	}
}
