package upstream

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/goccy/go-json"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/sleep"
)

// The pauses between two questions, where the backend names none.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
	// maxRetryAfter is how far a Retry-After is followed: callers wait.
	maxRetryAfter = 5 * time.Second
)

// ask finds out what became of the attempts before this one, and waits for one that still goes on. A webhook is not
// known to the backend if none of them had an effect, nor will have. Each error wraps handler.ErrUnasked.
func (u *Upstream) ask(ctx context.Context, w handler.Webhook) (result handler.Result, known bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: %w", handler.ErrUnasked, err)
		}
	}()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		response, err := u.send(ctx, func() *http.Request { return u.question(w) })
		if err != nil {
			return handler.Result{}, false, err
		}
		switch response.StatusCode {
		case http.StatusOK, http.StatusAccepted:
			body, err := u.read(ctx, response)
			switch {
			case err != nil:
				return handler.Result{}, false, err
			case processing(body):
			case response.StatusCode == http.StatusOK && len(body) > 0:
				result := u.result(w, response, body)
				result.Reconciled = true
				return result, true, nil
			default:
				return handler.Result{}, false, noAnswer(response.StatusCode)
			}
		case http.StatusNotFound:
			drain(response)
			return handler.Result{}, false, nil
		case http.StatusConflict, http.StatusTooEarly:
			drain(response)
		default:
			drain(response)
			return handler.Result{}, false, noAnswer(response.StatusCode)
		}
		if sleep.For(ctx, max(pause, retryAfter(response))) != nil {
			return handler.Result{}, false, &failure{fmt.Errorf("the backend still works on it: %w: %w",
				context.Cause(ctx), handler.ErrOutcomeUnknown), well}
		}
	}
}

// question is idempotent: that net/http sends it again over a new connection does no harm.
func (u *Upstream) question(w handler.Webhook) *http.Request {
	target, err := statusURL(u.StatusURL, w.Fingerprint)
	if err != nil {
		panic(err) // New has tried it, and keys differ in their digits only
	}
	return u.request(http.MethodGet, target, w)
}

// noAnswer is the failure of an answer that leaves the question open.
func noAnswer(status int) error {
	if final(status) {
		return &failure{fmt.Errorf("the backend answered %d, which says neither what came of it nor (404) that it never began: %w",
			status, handler.ErrOutcomeUnknown), well}
	}
	return notFinal(status)
}

// processing reports whether a body is a JSON object with "status":"processing", in just these letters.
func processing(body []byte) bool {
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte{'{'}) {
		return false // spares most others the parser
	}
	var fields map[string]json.RawMessage
	var status string
	return json.Unmarshal(body, &fields) == nil && json.Unmarshal(fields["status"], &status) == nil && status == "processing"
}

// retryAfter returns what the backend asks for, in bounds; 0 if nothing.
func retryAfter(response *http.Response) time.Duration {
	text := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 16); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, min(time.Until(at), maxRetryAfter))
	}
	return 0
}
