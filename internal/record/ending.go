package record

import (
	"errors"
	"time"
)

// The errors with which an execution ends that brings no result, and the causes (context.Cause) for which one is
// cancelled. Package logic, which hands them to business logic, says when it wraps which.
var (
	// ErrOutcomeUnknown says that the execution may have had its effect all the same: the next attempt is told.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrRefused says that the logic did nothing and would not now: its callers are told to come again.
	ErrRefused = errors.New("nothing was done")
	// ErrUnasked says, beside ErrOutcomeUnknown, that the logic tried to find out what became of an earlier attempt,
	// learned nothing certain, and executed nothing itself.
	ErrUnasked = errors.New("the backend was asked what became of an earlier attempt and gave no clear answer; " +
		"nothing was executed")

	// ErrLeaseLost is the cause of a cancellation because the lease is over by this replica's clock, or because another
	// attempt stands in Redis.
	ErrLeaseLost = errors.New("lease lost")
	// ErrTimeout is the cause of a cancellation after EXECUTION_TIMEOUT.
	ErrTimeout = errors.New("execution timeout")
)

// RetryAfter returns an error that wraps err and says when a retry may do better. All callers who waited for the
// execution are told.
func RetryAfter(err error, after time.Duration) error { return &retryAfter{err, after} }

type retryAfter struct {
	error
	after time.Duration
}

func (r *retryAfter) Unwrap() error { return r.error }

// WaitOf returns how long the callers of an execution that failed should wait before they ask again. It is 0 if the
// execution's error does not say.
func WaitOf(err error) time.Duration {
	if r, ok := errors.AsType[*retryAfter](err); ok {
		return r.after
	}
	return 0
}
