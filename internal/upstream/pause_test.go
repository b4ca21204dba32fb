package upstream_test

import (
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/upstream"
)

// resting is a backend that always answers with this status and these headers, and counts requests.
func resting(t *testing.T, status int, header http.Header, requests *atomic.Int64) string {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
	})
}

func TestARetryAfterOfTheBackendsPausesAllWebhooks(t *testing.T) {
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		status       int
		after, date  string
		least, most  time.Duration // 0: no pause
		breakerPause time.Duration
	}{
		"429, seconds": {status: 429, after: "60", least: 40 * time.Second, most: time.Minute},
		"503, seconds": {status: 503, after: "60", least: 40 * time.Second, most: time.Minute},
		"a date":       {status: 503, after: at(time.Minute), least: 40 * time.Second, most: time.Minute},
		"a date, a clock of 1994": {status: 429, after: "Sun, 06 Nov 1994 08:50:37 GMT",
			date: "Sun, 06 Nov 1994 08:49:37 GMT", least: 40 * time.Second, most: time.Minute},
		"a date in an old form": {status: 429, after: "Sunday, 06-Nov-94 08:50:37 GMT",
			date: "Sun, 06 Nov 1994 08:49:37 GMT", least: 40 * time.Second, most: time.Minute},
		"a date that is over":      {status: 429, after: at(-time.Minute)},
		"days":                     {status: 429, after: "864000", least: 59 * time.Minute, most: time.Hour},
		"more than a number holds": {status: 429, after: strings.Repeat("9", 30), least: 59 * time.Minute, most: time.Hour},
		"no seconds":               {status: 429, after: "0"},
		"less than none":           {status: 429, after: "-60"},
		"a fraction":               {status: 429, after: "1.5"},
		"a word":                   {status: 429, after: "soon"},
		"nothing":                  {status: 429},
		"another status":           {status: 500, after: "60"},
		"a refusal":                {status: 404, after: "60"},
		"no longer than 6 pauses": {status: 429, after: "3600", breakerPause: 10 * time.Second, least: 40 * time.Second,
			most: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			if c.after != "" {
				header.Set("Retry-After", c.after)
			}
			if c.date != "" {
				header.Set("Date", c.date)
			}
			var requests atomic.Int64
			if c.breakerPause == 0 {
				c.breakerPause = time.Hour
			}
			h := open(t, upstream.Options{URL: resting(t, c.status, header, &requests), BreakerPause: c.breakerPause})
			_, _ = h.Execute(t.Context(), webhook())
			wait, ok := h.Admit()
			if ok != (c.most == 0) || wait < c.least || wait > c.most {
				t.Errorf("the next one may come: %v, in %v", ok, wait)
			}
			if !ok {
				h.fails(t.Context(), webhook(), refused)
				equal(t, requests.Load(), int64(1))
				equal(t, strings.Count(h.log.String(), "asks for a pause"), 1)
			}
		})
	}
}

func TestAfterThePauseTheBackendIsTriedAgain(t *testing.T) {
	var requests, trips atomic.Int64
	h := open(t, upstream.Options{
		URL:          resting(t, 429, http.Header{"Retry-After": {"1"}}, &requests),
		BreakerPause: 10 * time.Millisecond,
	})
	h.Gauges(func(field string, _ int64) {
		equal(t, field, "pause_until")
		trips.Add(1)
	})
	h.fails(t.Context(), webhook(), refused)
	eventually(t, "it may be tried again", h.admits)
	h.fails(t.Context(), webhook(), refused)
	equal(t, []int64{requests.Load(), trips.Load()}, []int64{2, 2})
	equal(t, strings.Count(h.log.String(), "asks for a pause"), 2)
}

func TestAnOpenBreakerTellsForHowLong(t *testing.T) {
	var p patient
	p.status.Store(500)
	h := open(t, upstream.Options{URL: serve(t, p.serve), BreakerFailures: 1, BreakerPause: time.Minute})
	h.fails(t.Context(), webhook(), unknown)
	if wait, ok := h.Admit(); ok || wait < 40*time.Second || wait > time.Minute {
		t.Errorf("the next one may come: %v, in %v", ok, wait)
	}
}

func TestABackendThatIsAskedAndWantsAPauseGetsOne(t *testing.T) {
	h, _ := asking(t, step{status: 503, retryAfter: "60"})
	h.fails(t.Context(), doubtful(), unknown, unasked)
	equal(t, h.admits(), true) // no pause: it may last no longer than the breaker's

	s := &script{answers: []step{{status: 503, retryAfter: "60"}}}
	url := serve(t, s.serve)
	h = open(t, upstream.Options{URL: url, StatusURL: url, BreakerPause: time.Minute})
	h.fails(t.Context(), doubtful(), unknown, unasked)
	equal(t, h.admits(), false)
}
