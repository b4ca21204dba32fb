package handler_test

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/redistest"
)

func TestWhatIsTurnedAwayIsCounted(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.openWith(options(), handler.Options{APIKeys: []string{"k"}}, func(*handler.Server) {})
		const valid = `{"dialogId":"d","nodeId":"n","sequence":1}`
		for _, c := range []struct {
			code    int
			request string
		}{
			{401, request("POST", "/webhook/cognigy", valid)},
			{401, request("POST", "/webhook/cognigy", valid, "X-API-Key: other")},
			{401, request("GET", "/webhook/cognigy/x", "")},
			{400, request("POST", "/webhook/cognigy", `{"dialogId":""}`, "X-API-Key: k")},
			{400, request("POST", "/webhook/cognigy", valid, "X-API-Key: k", "Transfer-Encoding: identity")},
			{200, request("POST", "/webhook/cognigy", valid, "X-API-Key: k")},
		} {
			if got := r.exchange(c.request); got.status != c.code {
				t.Errorf("%d for %q", got.status, c.request)
			}
		}
		h.expectCounts(map[string]int64{"unauthorized": 3, "malformed": 2, "total_requests": 1, "executed": 1, "stored": 1})
	})
}

var evalsha = regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`)

// However fast a stranger sends, Redis sees no call for any single request of his, only a flush of counters now and
// then.
func TestStrangersDoNotMakeRedisBusy(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	o := options()
	o.MetricsFlush = 500 * time.Millisecond
	r := h.openWith(o, handler.Options{APIKeys: []string{"k"}}, func(*handler.Server) {})
	calls := func() (n int64) {
		stats := redistest.Do(t, h.client, "INFO", "commandstats")
		if found := evalsha.FindStringSubmatch(stats); found != nil {
			n, _ = strconv.ParseInt(found[1], 10, 64)
		}
		return n
	}
	before, began := calls(), time.Now()
	const requests = 2000
	for range requests {
		r.exchange(request("POST", "/webhook/cognigy", "{}"))
	}
	h.expectCounts(map[string]int64{"unauthorized": requests})
	if made, due := calls()-before, int64(time.Since(began)/o.MetricsFlush)+2; made > due {
		t.Errorf("%d requests made %d calls of the script, and %d flushes were due", requests, made, due)
	}
}
