package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/oncegate/oncegate/handler/logic"
)

// failure is the reason why an execution brought no result. Its text goes into the log: it contains no body, no value
// of a header, no token and no URL.
type failure struct {
	error
	health health
}

func (f *failure) Unwrap() error { return f.error }

// health is what the outcome of an execution says about the backend. The circuit breaker counts it.
type health uint8

const (
	sick      health = iota // the backend does not answer, or not as it should
	well                    // the backend answers
	unrelated               // the outcome says nothing about the backend
)

// healthOf returns what an execution's error says about the backend.
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

// final reports whether an answer with this status is the webhook's result, for good.
func final(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false // these ask the client to send the same request again
	}
	return status/100 == 2 || status/100 == 4
}

// notFinal is the failure of an answer that is not a result. If it is a 429 or 503 with a Retry-After, callers are told
// how long to wait, and until then nothing is sent.
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
		return &failure{fmt.Errorf("the backend answered %d, which ends no request: %w", status,
			logic.ErrOutcomeUnknown), sick}
	}
}

// cutOff is the failure of an execution whose context ended. sent says whether a part of the request may have been
// sent.
func cutOff(ctx context.Context, sent bool) error {
	cause := context.Cause(ctx)
	said := unrelated // a lost lease or a shutdown is not the backend's fault
	if errors.Is(cause, logic.ErrTimeout) || errors.Is(cause, context.DeadlineExceeded) {
		said = sick
	}
	if !sent {
		return &failure{fmt.Errorf("cut off before anything was sent: %w: %w", cause, logic.ErrRefused), said}
	}
	return &failure{fmt.Errorf("cut off while the backend worked: %w: %w", cause, logic.ErrOutcomeUnknown), said}
}
