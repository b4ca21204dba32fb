package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/goccy/go-json"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/backoff"
	"github.com/oncegate/oncegate/internal/sleep"
)

// The pauses between two questions, in addition to the Retry-After of the backend. The first is firstPause long on
// average.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
	// maxFollowed bounds how long a Retry-After is obeyed here: callers are waiting.
	maxFollowed = 5 * time.Second
)

// ask asks the backend what became of the earlier attempts, and waits while one of them still runs. It asks for the
// first time after the pause first. known is false if no attempt had an effect and none will have one.
func (u *Upstream) ask(
	ctx context.Context, w logic.Webhook, first time.Duration,
) (r logic.Result, known bool, err error) {
	if first > 0 && sleep.For(ctx, first) != nil {
		return r, false, stillWorking(ctx)
	}
	for again := (backoff.Backoff{First: 2 * firstPause, Most: longestPause}); ; {
		response, err := u.send(ctx, func() *http.Request { return u.question(w) })
		if err != nil {
			return r, false, err
		}
		switch response.StatusCode {
		case http.StatusOK, http.StatusAccepted:
			body, err := u.read(ctx, response)
			switch {
			case err != nil:
				return r, false, err
			case processing(response, body):
			case response.StatusCode == http.StatusOK && len(body) > 0:
				result, err := u.result(w, response, body)
				return result, err == nil, err
			default:
				return r, false, u.noAnswer(response)
			}
		case http.StatusNotFound:
			drain(response)
			return r, false, nil
		case http.StatusConflict, http.StatusTooEarly:
			drain(response)
		default:
			drain(response)
			return r, false, u.noAnswer(response)
		}
		if sleep.For(ctx, min(retryAfter(response), maxFollowed)+again.Next()) != nil {
			return r, false, stillWorking(ctx)
		}
	}
}

// unasked is the failure of an attempt in doubt that ended with its question. Even if the question certainly failed,
// the doubt about the earlier attempt stays.
func unasked(err error) error {
	if !errors.Is(err, logic.ErrOutcomeUnknown) {
		err = fmt.Errorf("%w; of the earlier attempt: %w", err, logic.ErrOutcomeUnknown)
	}
	return fmt.Errorf("%w: %w", logic.ErrUnasked, err)
}

func stillWorking(ctx context.Context) error {
	return &failure{fmt.Errorf("the backend still works on it: %w: %w", context.Cause(ctx), logic.ErrOutcomeUnknown), well}
}

// atWork reports whether the answer to a POST states that the backend is at work on this key. Without a status URL a
// 202 is an ordinary result: the backend has accepted the webhook, and cannot be asked for more.
func (u *Upstream) atWork(response *http.Response, body []byte) bool {
	switch response.StatusCode {
	case http.StatusAccepted:
		return u.StatusURL != "" && processing(response, body)
	case http.StatusConflict:
		return response.Header.Get("Retry-After") != "" || processing(response, body)
	case http.StatusTooEarly:
		return processing(response, body)
	}
	return false
}

// await waits for the outcome of the work that the backend has under way. Without a status URL it gives up at once.
func (u *Upstream) await(ctx context.Context, w logic.Webhook, response *http.Response) (logic.Result, error) {
	if u.StatusURL == "" {
		return logic.Result{}, &failure{fmt.Errorf("the backend answered %d, it is at work on this webhook's key: %w",
			response.StatusCode, logic.ErrOutcomeUnknown), well}
	}
	result, known, err := u.ask(ctx, w, max(firstPause, min(retryAfter(response), maxFollowed)))
	if err != nil {
		return logic.Result{}, unanswered(ctx, "the backend is at work on this webhook's key, and can't say what "+
			"comes of it", err)
	}
	if !known {
		return logic.Result{}, &failure{fmt.Errorf("the backend answered %d, it is at work on this webhook's key, "+
			"and then 404, it does not know the key: %w", response.StatusCode, logic.ErrOutcomeUnknown), well}
	}
	result.Reconciled = response.StatusCode != http.StatusAccepted // a 202 is this attempt's own execution
	return result, nil
}

// doubtRefusal decides what a bare 409 to an attempt in doubt means. It may say that an earlier attempt is at work on
// the key (draft-ietf-httpapi-idempotency-key-header, section 2.6), or it may be a refusal. The backend is asked which
// of the two it is.
func (u *Upstream) doubtRefusal(
	ctx context.Context, w logic.Webhook, response *http.Response, body []byte,
) (logic.Result, error) {
	if u.StatusURL == "" {
		return logic.Result{}, &failure{fmt.Errorf("the backend answered %d to an attempt in doubt, "+
			"so an earlier one may still be at work: %w", response.StatusCode, logic.ErrOutcomeUnknown), well}
	}
	result, known, err := u.ask(ctx, w, 0)
	switch {
	case err != nil:
		return logic.Result{}, unanswered(ctx, "the backend answered 409, and can't say what it means", err)
	case known:
		result.Reconciled = true
		return result, nil
	}
	return u.result(w, response, body) // nothing is at work, and nothing was done
}

// unanswered is the failure of a question that was asked after the webhook was posted. Even if the question certainly
// failed, the backend may be at work.
func unanswered(ctx context.Context, what string, err error) error {
	health := healthOf(err)
	// %v of its text, not %w: that the backend refused the question does not mean that it refused the webhook
	err = fmt.Errorf("%s: %s: %w", what, err.Error(), logic.ErrOutcomeUnknown)
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &failure{err, health}
}

// question returns the request that asks. It is idempotent: net/http may send it again over a new connection.
func (u *Upstream) question(w logic.Webhook) *http.Request {
	target, err := statusURL(u.StatusURL, u.key(w))
	if err != nil {
		panic(err) // New has checked the template, and keys hold only digits, letters and hyphens
	}
	return u.request(http.MethodGet, target, w)
}

// noAnswer is the failure of a question whose answer leaves it open.
func (u *Upstream) noAnswer(response *http.Response) error {
	if status := response.StatusCode; final(status) {
		return &failure{fmt.Errorf("the backend answered %d, which says neither what came of it "+
			"nor (404) that it never began: %w", status, logic.ErrOutcomeUnknown), well}
	}
	return u.notFinal(response)
}

// processing reports whether a body is a JSON object with "status":"processing", in exactly this spelling.
func processing(response *http.Response, body []byte) bool {
	text, err := utf8Of(response.Header.Get("Content-Type"), body)
	if err != nil || !looksLikeJSON(text) {
		return false // most bodies never reach the parser
	}
	var fields map[string]json.RawMessage
	var status string
	return json.Unmarshal(text, &fields) == nil && json.Unmarshal(fields["status"], &status) == nil &&
		status == "processing"
}
