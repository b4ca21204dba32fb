package record

import (
	"errors"
	"time"
)

// The errors of an execution that brings no result, and the causes (context.Cause) of a cancellation. Package logic
// documents them for business logic.
var (
	// ErrOutcomeUnknown says that the execution may have had its effect nevertheless: the next attempt is told so.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrRefused says that the logic did nothing, and would do nothing at the moment: callers are told to come again.
	ErrRefused = errors.New("nothing was done")
	// ErrUnasked says, together with ErrOutcomeUnknown, that the logic could not find out what became of an earlier
	// attempt, and executed nothing itself.
	ErrUnasked = errors.New("the backend was asked what became of an earlier attempt and gave no clear answer; " +
		"nothing was executed")

	// ErrLeaseLost is the cause of a cancellation after the lease has ended by this replica's clock, or after another
	// attempt was found in Redis.
	ErrLeaseLost = errors.New("lease lost")
	// ErrTimeout is the cause of a cancellation after EXECUTION_TIMEOUT.
	ErrTimeout = errors.New("execution timeout")
)

// RetryAfter returns an error that wraps err and says when a retry may succeed. All callers that waited for the
// execution are told.
func RetryAfter(err error, after time.Duration) error { return &retryAfter{err, after} }

type retryAfter struct {
	error
	after time.Duration
}

func (r *retryAfter) Unwrap() error { return r.error }

// WaitOf returns how long the callers of a failed execution should wait before they ask again, 0 if err does not say.
func WaitOf(err error) time.Duration {
	if r, ok := errors.AsType[*retryAfter](err); ok {
		return r.after
	}
	return 0
}
