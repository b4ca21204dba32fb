package upstream_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/upstream"
)

// TestAResultThatDeclaresTooMuchIsNotRead has a backend that never sends the length that it declares.
func TestAResultThatDeclaresTooMuchIsNotRead(t *testing.T) {
	h := open(t, upstream.Options{URL: raw(t, func(c net.Conn, requests *bufio.Reader) {
		if took(requests) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{", 1<<40)
			_, _ = requests.ReadByte() // until the other side closes
		}
	})})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, logic.ErrTimeout)
	defer cancel()
	if text := h.fails(ctx, webhook(), unknown); !strings.Contains(text, "MAX_RESULT_BYTES") {
		t.Errorf("error %s", text)
	}
}

func TestAResultThatIsPassedThroughIsBoundedToo(t *testing.T) {
	for more, fits := range []bool{true, false} {
		answer := "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", maxResultBytes+more)
		h := open(t, upstream.Options{URL: says(t, answer), Passthrough: true})
		if fits {
			equal(t, len(h.gives(webhook()).Body), maxResultBytes)
		} else {
			h.fails(t.Context(), webhook(), unknown)
		}
	}
}

func TestPassedThroughJSONThatIsCutWithItsConnectionLeavesTheOutcomeUnknown(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n"
	open(t, upstream.Options{URL: says(t, head+`{"booking":12`), Passthrough: true}).fails(t.Context(), webhook(), unknown)
	whole := open(t, upstream.Options{URL: says(t, head+`{"booking":12}`), Passthrough: true})
	equal(t, string(whole.gives(webhook()).Body), `{"booking":12}`)
}

func TestKeptHeadersAreBoundedTogether(t *testing.T) {
	large := strings.Repeat("x", 1100)
	h := open(t, upstream.Options{
		Keep: []string{"X-A", "X-B", "X-C"},
		URL:  answers(t, http.Header{"X-A": {large}, "X-B": {large}, "X-C": {"c"}}, ""),
	})
	equal(t, h.gives(webhook()).Headers, []logic.Header{{Name: "X-A", Value: large}, {Name: "X-C", Value: "c"}})
}

// TestARetryAfterOfTheQuestionIsFollowedForSecondsOnly: callers are waiting meanwhile.
func TestARetryAfterOfTheQuestionIsFollowedForSecondsOnly(t *testing.T) {
	t.Parallel()
	h, s := asking(t, step{status: 409, retryAfter: "3600"}, step{status: 200, body: `{"order":7}`})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if r, err := h.Execute(ctx, doubtful()); err != nil || string(r.Body) != `{"order":7}` {
		t.Errorf("%+v, error %v", r, err)
	}
	equal(t, s.asked(), []string{"GET", "GET"})
}

// TestOnlyARefusedTokenHasAWebhookSentAgain: a 403 is about the webhook itself, and may come after the effect.
func TestOnlyARefusedTokenHasAWebhookSentAgain(t *testing.T) {
	for status, requests := range map[int]int64{401: 2, 403: 1, 404: 1} {
		var b bank
		var posted atomic.Int64
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			posted.Add(1)
			w.WriteHeader(status)
		})
		h := open(t, upstream.Options{OAuth: credentials(serve(t, b.issue)), URL: url})
		equal(t, h.gives(webhook()).Status, status)
		equal(t, posted.Load(), requests)
	}
}

func TestTheSecretDoesNotFollowARedirectOfTheTokensEndpoint(t *testing.T) {
	var strangers atomic.Int64
	stranger := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		strangers.Add(1)
		w.Header().Set("Content-Type", record.JSON)
		fmt.Fprint(w, `{"access_token":"x","token_type":"bearer"}`)
	})
	endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, stranger, http.StatusTemporaryRedirect) // which keeps method and body
	})
	h := open(t, upstream.Options{URL: "http://backend.invalid", OAuth: credentials(endpoint)})
	h.fails(t.Context(), webhook(), refused)
	equal(t, strangers.Load(), int64(0))
}
