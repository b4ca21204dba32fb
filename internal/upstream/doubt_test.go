package upstream_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/upstream"
)

// script is a backend that gives its answers one after the other, and repeats the last.
type script struct {
	mu      sync.Mutex
	answers []step
	methods []string
	last    *http.Request
	asks    func() // if not nil: it is called at each request
}

type step struct {
	status     int
	body       string
	retryAfter string
}

func (s *script) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.methods = append(s.methods, r.Method)
	s.last = r.Clone(context.Background())
	if s.asks != nil {
		s.asks()
	}
	a := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	w.Header().Set("Content-Type", record.JSON)
	if a.retryAfter != "" {
		w.Header().Set("Retry-After", a.retryAfter)
	}
	w.WriteHeader(a.status)
	fmt.Fprint(w, a.body)
}

func (s *script) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.methods)
}

// timeUp returns a context whose time is up two seconds after the first request has come. If the answer asks for a
// pause of five seconds, the time ends within the pause, and never while a request is under way.
func (s *script) timeUp(t *testing.T) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	s.asks = func() { time.AfterFunc(2*time.Second, func() { cancel(logic.ErrTimeout) }) }
	return ctx
}

// asking opens a forwarder with a status URL.
func asking(t *testing.T, steps ...step) (*testbed, *script) {
	t.Helper()
	s := &script{answers: steps}
	url := serve(t, s.serve)
	return open(t, upstream.Options{
		URL: url + "/hook", StatusURL: url + "/status?x=1", Headers: []logic.Header{{Name: "X-Api-Key", Value: secret}},
	}), s
}

func TestAnAttemptInDoubtIsAskedForAndItsResultTaken(t *testing.T) {
	h, s := asking(t, step{status: 200, body: `{"order":7}`})
	w := doubtful()
	w.Headers = []logic.Header{{Name: "traceparent", Value: "00-1"}}
	equal(t, h.gives(w), logic.Result{Status: 200, ContentType: record.JSON, Body: []byte(`{"order":7}`),
		Reconciled: true})
	equal(t, s.asked(), []string{"GET"})
	equal(t, s.last.URL.RequestURI(), "/status/"+key.Hex()+"?x=1")
	equal(t, []string{s.last.Header.Get("Idempotency-Key"), s.last.Header.Get("X-Api-Key"),
		s.last.Header.Get("Traceparent")},
		[]string{key.Hex(), secret, "00-1"})
}

func TestTheKeyStandsWhereTheStatusURLWantsIt(t *testing.T) {
	s := &script{answers: []step{{status: 200, body: `1`}}}
	h := open(t, upstream.Options{URL: "http://backend.invalid", StatusURL: serve(t, s.serve) +
		"/of/{key}/status?k={key}"})
	h.gives(doubtful())
	equal(t, s.last.URL.RequestURI(), "/of/"+key.Hex()+"/status?k="+key.Hex())
}

func TestTheKeyIsTheLastSegmentOfAPathThatMayBeEmpty(t *testing.T) {
	for _, path := range []string{"", "/"} {
		s := &script{answers: []step{{status: 200, body: `1`}}}
		h := open(t, upstream.Options{URL: "http://backend.invalid", StatusURL: serve(t, s.serve) + path})
		h.gives(doubtful())
		equal(t, s.last.URL.RequestURI(), "/"+key.Hex())
	}
}

func TestWithoutDoubtNobodyIsAsked(t *testing.T) {
	h, s := asking(t, step{status: 200, body: `{}`})
	equal(t, h.gives(webhook()).Reconciled, false)
	equal(t, s.asked(), []string{"POST"})
}

func TestAWebhookThatTheBackendDoesNotKnowIsSentAndOutOfDoubt(t *testing.T) {
	h, s := asking(t, step{status: 404}, step{status: 201, body: `{}`})
	equal(t, h.gives(doubtful()).Status, 201)
	equal(t, s.asked(), []string{"GET", "POST"})

	h, _ = asking(t, step{status: 404}, step{status: 408})
	h.fails(t.Context(), doubtful()) // a certain failure, since the doubt is resolved
	h, _ = asking(t, step{status: 404}, step{status: 500})
	h.fails(t.Context(), doubtful(), unknown)
}

func TestOnlyABackendWithAStatusURLIsAsked(t *testing.T) {
	h, _ := asking(t, step{status: 200})
	equal(t, h.Asks(), true)
	equal(t, open(t, upstream.Options{URL: "http://backend.invalid"}).Asks(), false)
}

func TestAnAttemptThatStillGoesOnIsWaitedFor(t *testing.T) {
	for name, busy := range map[string]step{
		"409":                 {status: 409},
		"425":                 {status: 425, body: `{}`},
		"a mark before it":    {status: 200, body: "\ufeff{\"status\":\"processing\"}"},
		"200 and processing":  {status: 200, body: ` {"status":"processing","eta":1}`},
		"202 and processing":  {status: 202, body: `{"status":"processing"}`},
		"an odd Retry-After":  {status: 409, retryAfter: "soon"},
		"a past Retry-After":  {status: 409, retryAfter: "Mon, 02 Jan 2006 15:04:05 GMT"},
		"a Retry-After of 0":  {status: 409, retryAfter: "0"},
		"a negative one":      {status: 409, retryAfter: "-5"},
		"a Retry-After of 1s": {status: 409, retryAfter: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s := asking(t, busy, step{status: 200, body: `{"status":"done"}`})
			start := time.Now()
			equal(t, string(h.gives(doubtful()).Body), `{"status":"done"}`)
			equal(t, s.asked(), []string{"GET", "GET"})
			least := time.Duration(1)
			if busy.retryAfter == "1" {
				least = time.Second
			}
			if waited := time.Since(start); waited < least {
				t.Errorf("it asked again after %v", waited)
			}
		})
	}
}

func TestWhatOnlyLooksLikeProcessingIsAResult(t *testing.T) {
	for _, body := range []string{
		`{"Status":"processing"}`, `{"status":"Processing"}`, `{"status":null}`, `{"status":7}`, `["processing"]`, `{}`,
		`"processing"`,
	} {
		h, s := asking(t, step{status: 200, body: body})
		equal(t, string(h.gives(doubtful()).Body), body)
		equal(t, s.asked(), []string{"GET"})
	}
}

func TestAnAttemptThatGoesOnTooLongStaysInDoubtAndIsNoFaultOfTheBackends(t *testing.T) {
	t.Parallel()
	s := &script{answers: []step{{status: 409, retryAfter: "5"}}}
	url := serve(t, s.serve)
	h := open(t, upstream.Options{URL: url, StatusURL: url, BreakerFailures: 1, BreakerPause: time.Hour})
	h.cutOff(s.timeUp(t), doubtful(), unknown, unasked)
	equal(t, s.asked(), []string{"GET"})
	equal(t, h.admits(), true)
}

func TestWithoutAnAnswerToTheQuestionNothingIsExecuted(t *testing.T) {
	for name, c := range map[string]struct {
		step
		kinds []error
	}{
		"nothing in it":      {step{status: 200}, []error{unknown}},
		"accepted, but what": {step{status: 202, body: `{"status":"accepted"}`}, []error{unknown}},
		"no content":         {step{status: 204}, []error{unknown}},
		"a redirect":         {step{status: 302}, []error{unknown}},
		"a refusal":          {step{status: 401}, []error{unknown}},
		"gone":               {step{status: 410}, []error{unknown}},
		"too many":           {step{status: 429}, []error{unknown, refused}},
		"an error":           {step{status: 500}, []error{unknown}},
		"cut":                {step{status: 200, body: `{"status":"processing"`}, []error{unknown}},
		"no JSON":            {step{status: 200, body: `processing`}, []error{unknown}},
		"too large":          {step{status: 200, body: string(make([]byte, maxResultBytes+1))}, []error{unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := asking(t, c.step)
			h.fails(t.Context(), doubtful(), append(c.kinds, unasked)...)
			equal(t, s.asked(), []string{"GET"})
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		s := &script{answers: []step{{status: 200}}}
		h := open(t, upstream.Options{URL: serve(t, s.serve), StatusURL: "http://backend.invalid/?" + secret})
		h.fails(t.Context(), doubtful(), unknown, refused, unasked)
		equal(t, s.asked(), []string(nil))
	})
}

func TestAConflictIsARefusalOnlyWhereNobodyCanBeAtWork(t *testing.T) {
	working := step{status: 409, body: `{"status":"processing"}`}
	for name, c := range map[string]struct {
		webhook logic.Webhook
		step
		final bool
	}{
		"in doubt":                    {doubtful(), step{status: 409}, false},
		"in doubt, with a reason":     {doubtful(), step{status: 409, body: `{"error":"taken"}`}, false},
		"in doubt, at work":           {doubtful(), working, false},
		"in doubt, another refusal":   {doubtful(), step{status: 422, body: `{"status":"processing"}`}, true},
		"without doubt":               {webhook(), step{status: 409, body: `{"error":"taken"}`}, true},
		"without doubt, at work":      {webhook(), working, false},
		"without doubt, Retry-After":  {webhook(), step{status: 409, retryAfter: "1"}, false},
		"without doubt, 425, at work": {webhook(), step{status: 425, body: working.body}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{answers: []step{c.step}}
			h := open(t, upstream.Options{URL: serve(t, s.serve), BreakerFailures: 1, BreakerPause: time.Hour})
			if c.final {
				equal(t, h.gives(c.webhook).Status, c.status)
			} else {
				h.fails(t.Context(), c.webhook, unknown)
			}
			equal(t, s.asked(), []string{"POST"})
			equal(t, h.admits(), true) // the backend answers
		})
	}
}

func TestAConflictInDoubtIsExplainedByTheStatusURL(t *testing.T) {
	conflict := step{status: 409, body: `{"error":"taken"}`}
	found := step{status: 200, body: `{"order":7}`}
	for name, c := range map[string]struct {
		steps  []step
		status int // 0: it fails, and nobody knows
		body   string
	}{
		"the first one has come to its end": {[]step{{status: 404}, conflict, found}, 200, found.body},
		"the first one comes to its end":    {[]step{{status: 404}, conflict, {status: 409}, found}, 200, found.body},
		"it says that it is at work": {
			[]step{{status: 404}, {status: 409, body: `{"status":"processing"}`}, found}, 200, found.body},
		"nothing is known of it: a refusal": {[]step{{status: 404}, conflict, {status: 404}}, 409, conflict.body},
		"no answer":                         {[]step{{status: 404}, conflict, {status: 500}}, 0, ""},
		"at work, and not known": {
			[]step{{status: 404}, {status: 409, retryAfter: "0"}, {status: 404}}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := asking(t, c.steps...)
			want := []string{"GET", "POST", "GET", "GET"}[:len(c.steps)]
			if c.status == 0 {
				h.fails(t.Context(), doubtful(), unknown)
				equal(t, s.asked(), want)
				return
			}
			r := h.gives(doubtful())
			equal(t, []any{r.Status, string(r.Body), r.Reconciled}, []any{c.status, c.body, c.status == 200})
			equal(t, s.asked(), want)
		})
	}
}

func TestWorkThatGoesOnAfterItsAnswerIsAskedFor(t *testing.T) {
	t.Parallel()
	accepted := step{status: 202, body: `{"status":"processing"}`, retryAfter: "1"}
	h, s := asking(t, accepted, step{status: 409}, step{status: 200, body: `{"order":7}`})
	start := time.Now()
	equal(t, h.gives(webhook()), logic.Result{Status: 200, ContentType: record.JSON, Body: []byte(`{"order":7}`)})
	equal(t, s.asked(), []string{"POST", "GET", "GET"})
	if waited := time.Since(start); waited < time.Second {
		t.Errorf("it asked after %v, Retry-After was 1", waited)
	}

	h, s = asking(t, step{status: 202, body: accepted.body}, step{status: 404})
	h.fails(t.Context(), webhook(), unknown)
	equal(t, s.asked(), []string{"POST", "GET"})

	h, s = asking(t, step{status: 202, body: accepted.body, retryAfter: "5"})
	h.cutOff(s.timeUp(t), webhook(), unknown)
	equal(t, s.asked(), []string{"POST"})

	h, s = asking(t, step{status: 202, body: `{"status":"accepted"}`}) // a result
	equal(t, h.gives(webhook()).Status, 202)
	equal(t, s.asked(), []string{"POST"})
}

func TestWithoutAStatusURLWhatWasAcceptedIsAResult(t *testing.T) {
	s := &script{answers: []step{{status: 202, body: `{"status":"processing"}`}}}
	equal(t, open(t, upstream.Options{URL: serve(t, s.serve)}).gives(webhook()).Status, 202)
}

// The webhook was posted, and the backend may be at work on it, whatever the question brought.
func TestAQuestionThatFailsAfterThePostLeavesTheOutcomeUnknown(t *testing.T) {
	accepted := step{status: 202, body: `{"status":"processing"}`}
	for name, last := range map[string]step{
		"too many": {status: 429}, "a redirect": {status: 307}, "a timeout": {status: 408}, "an error": {status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := asking(t, accepted, last)
			if text := h.fails(t.Context(), webhook(), unknown); strings.Contains(text, "\n") {
				t.Errorf("it has more than a line: %s", text)
			}
			h, _ = asking(t, step{status: 404}, step{status: 409}, last)
			h.fails(t.Context(), doubtful(), unknown)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		s := &script{answers: []step{accepted}}
		h := open(t, upstream.Options{URL: serve(t, s.serve), StatusURL: "http://backend.invalid"})
		h.fails(t.Context(), webhook(), unknown)
	})
	t.Run("cut off while it waits", func(t *testing.T) {
		t.Parallel()
		h, s := asking(t, step{status: 202, body: accepted.body, retryAfter: "5"})
		h.cutOff(s.timeUp(t), webhook(), unknown)
	})
}
