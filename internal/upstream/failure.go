package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/oncegate/oncegate/handler/logic"
)

// failure is why an execution brought no result. Its text is for the log: it holds no body, no header's value, no token
// and no URL.
type failure struct {
	error
	health health
}

func (f *failure) Unwrap() error { return f.error }

// health is what a failure says of the backend.
type health uint8

const (
	sick      health = iota // it does not answer, or not as it should
	well                    // it answers
	unrelated               // nothing: the reason lies elsewhere
)

// healthOf a backend after an execution that ended with err.
func healthOf(err error) health {
	var f *failure
	switch {
	case err == nil:
		return well
	case errors.As(err, &f):
		return f.health
	}
	return unrelated
}

// final reports whether an answer is the webhook's result, for good.
func final(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false // it says itself that the same may be sent again
	}
	return status/100 == 2 || status/100 == 4
}

// notFinal is the failure of an answer that is no result. Where it is 429 or 503 and says for how long, callers are
// told so, and nothing is sent meanwhile.
func (u *Upstream) notFinal(response *http.Response) error {
	err := notFinal(response.StatusCode)
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if after := retryAfter(response); after > 0 {
			u.pause.hold(after)
			return logic.RetryAfter(err, after)
		}
	}
	return err
}

func notFinal(status int) error {
	switch {
	case status == http.StatusTooManyRequests:
		return &failure{fmt.Errorf("the backend answered %d, it has too much to do: %w", status, logic.ErrRefused), well}
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return &failure{fmt.Errorf("the backend answered %d: it did nothing and wants the request again", status), well}
	case status/100 == 3 && status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect:
		return &failure{fmt.Errorf("the backend answered %d, a redirect: it may mean that it is done, and is not "+
			"followed: %w", status, logic.ErrOutcomeUnknown), well}
	case status/100 == 3:
		return &failure{fmt.Errorf("the backend answered %d, a redirect, and those are not followed: configure the URL "+
			"that it leads to", status), well}
	case status/100 == 5:
		return &failure{fmt.Errorf("the backend answered %d, its own log may tell why: %w", status, logic.ErrOutcomeUnknown),
			sick}
	default:
		return &failure{fmt.Errorf("the backend answered %d, which is no end of a request: %w", status,
			logic.ErrOutcomeUnknown), sick}
	}
}

// cutOff is the failure of an execution whose context ended.
func cutOff(ctx context.Context, sent bool) error {
	cause := context.Cause(ctx)
	said := unrelated // a lost lease, a shutdown
	if errors.Is(cause, logic.ErrTimeout) || errors.Is(cause, context.DeadlineExceeded) {
		said = sick
	}
	if !sent {
		return &failure{fmt.Errorf("cut off before anything was sent: %w: %w", cause, logic.ErrRefused), said}
	}
	return &failure{fmt.Errorf("cut off while the backend worked: %w: %w", cause, logic.ErrOutcomeUnknown), said}
}
