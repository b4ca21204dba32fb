package upstream_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/upstream"
)

// patient is a backend whose status a test can change, and which counts requests.
type patient struct {
	status, requests atomic.Int64
	hold             chan struct{} // if not nil: each request waits for it
}

func (p *patient) serve(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the caller leaves
	p.requests.Add(1)
	if p.hold != nil {
		select {
		case <-p.hold:
		case <-r.Context().Done():
		}
	}
	w.WriteHeader(int(p.status.Load()))
}

const long = time.Hour

func TestFailuresInARowOpenTheBreakerAndThenNothingIsSent(t *testing.T) {
	var p patient
	p.status.Store(500)
	trips := make(chan int64, 10)
	h := open(t, upstream.Options{URL: serve(t, p.serve), BreakerFailures: 3, BreakerPause: long})
	h.Gauges(func(field string, until int64) {
		equal(t, field, "breaker_open_until")
		trips <- until
	})
	start := time.Now()
	for range 3 {
		equal(t, h.admits(), true)
		h.fails(t.Context(), webhook(), unknown)
	}
	equal(t, h.admits(), false)
	h.fails(t.Context(), webhook(), refused)
	h.fails(t.Context(), doubtful(), refused)
	equal(t, p.requests.Load(), int64(3))
	if until := <-trips; until < start.Add(long).Unix() || until > time.Now().Add(long).Unix() || len(trips) > 0 {
		t.Errorf("told of %v, and %d more", until, len(trips))
	}
	equal(t, strings.Count(h.log.String(), "level=WARN"), 1)
}

func TestAProbeThatSucceedsClosesTheBreaker(t *testing.T) {
	p := patient{hold: make(chan struct{})}
	p.status.Store(503)
	var trips atomic.Int64
	h := open(t, upstream.Options{
		URL: serve(t, p.serve), BreakerFailures: 1, BreakerPause: 50 * time.Millisecond,
	})
	h.Gauges(func(string, int64) { trips.Add(1) })
	release := func() { p.hold <- struct{}{} }
	go release()
	h.fails(t.Context(), webhook(), unknown)
	eventually(t, "it may be probed", h.admits)
	go release()
	h.fails(t.Context(), webhook(), unknown) // the probe fails
	equal(t, trips.Load(), int64(2))
	eventually(t, "it may be probed again", h.admits)

	p.status.Store(200)
	probed := make(chan error, 1)
	go func() {
		_, err := h.Execute(t.Context(), webhook())
		probed <- err
	}()
	eventually(t, "the probe is under way", func() bool { return p.requests.Load() == 3 })
	equal(t, h.admits(), false) // one probes for all
	h.fails(t.Context(), webhook(), refused)
	release()
	if err := <-probed; err != nil {
		t.Error(err)
	}
	equal(t, h.admits(), true)
	equal(t, []int{strings.Count(h.log.String(), "level=WARN"), strings.Count(h.log.String(), "level=INFO")}, []int{1, 1})
}

func TestAnswersThatAreNoFailureOfTheBackendsEndARowOfThem(t *testing.T) {
	for _, status := range []int64{200, 302, 404, 408, 425, 429} {
		var p patient
		h := open(t, upstream.Options{URL: serve(t, p.serve), BreakerFailures: 2, BreakerPause: long})
		for range 3 {
			p.status.Store(500)
			h.fails(t.Context(), webhook(), unknown)
			p.status.Store(status)
			_, _ = h.Execute(t.Context(), webhook())
		}
		equal(t, h.admits(), true)
	}
}

func TestOnlyATimeoutOfAnExecutionThatIsCutOffCounts(t *testing.T) {
	for _, c := range []struct {
		cause  error
		admits bool
	}{
		{logic.ErrLeaseLost, true}, {errors.New("shutdown"), true}, {context.Canceled, true},
		{logic.ErrTimeout, false}, {context.DeadlineExceeded, false},
	} {
		t.Run(c.cause.Error(), func(t *testing.T) {
			p := patient{hold: make(chan struct{})}
			h := open(t, upstream.Options{URL: serve(t, p.serve), BreakerFailures: 1, BreakerPause: long})
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				eventually(t, "the backend works", func() bool { return p.requests.Load() == 1 })
				cancel(c.cause)
			}()
			h.cutOff(ctx, webhook(), unknown)
			equal(t, h.admits(), c.admits)
		})
	}
}

func TestABackendThatIsNotThereOpensTheBreakerAndOneThatIsUnreadableToo(t *testing.T) {
	for url, kind := range map[string]error{"http://backend.invalid": refused, says(t, "x"): unknown} {
		h := open(t, upstream.Options{URL: url, BreakerFailures: 1, BreakerPause: long})
		h.fails(t.Context(), webhook(), kind)
		equal(t, h.admits(), false)
	}
}

func TestWithoutABreakerEveryExecutionIsTried(t *testing.T) {
	var p patient
	p.status.Store(500)
	h := open(t, upstream.Options{URL: serve(t, p.serve)})
	for range 50 {
		h.fails(t.Context(), webhook(), unknown)
	}
	equal(t, h.admits(), true)
	equal(t, p.requests.Load(), int64(50))
}
