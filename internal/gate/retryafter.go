package gate

import (
	"errors"
	"time"
)

// RetryAfter returns an error of logic that wraps err and says when a retry may do better. All callers who waited for the
// execution are told.
func RetryAfter(err error, after time.Duration) error { return &retryAfter{err, after} }

type retryAfter struct {
	error
	after time.Duration
}

func (r *retryAfter) Unwrap() error { return r.error }

// waitOf is how long a failed execution's callers should wait before they ask again; 0: its logic did not say.
func waitOf(err error) time.Duration {
	if r, ok := errors.AsType[*retryAfter](err); ok {
		return r.after
	}
	return 0
}
