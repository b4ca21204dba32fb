package gate

import (
	"context"
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/record"
)

// lifetime is the context of an execution's logic. It ends with ExecutionTimeout, when the lease is lost, with the
// gate, and when the logic has returned. A context, with its timer, is made only if the logic asks for it.
type lifetime struct {
	// Fixed at construction.
	gate     context.Context
	deadline time.Time

	mu    sync.Mutex
	ended error // why the gate has ended it; nil: the gate has not
	made  context.Context
	end   context.CancelCauseFunc
	stop  context.CancelFunc // the timer's
}

// cancel ends the lifetime for a reason, unless it has ended before.
func (l *lifetime) cancel(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil {
		l.ended = cause
	}
	if l.made != nil {
		l.end(l.ended)
	}
}

// finish ends the lifetime because the logic has returned.
func (l *lifetime) finish() {
	l.cancel(context.Canceled)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil {
		l.stop()
	}
}

// context returns the context behind the lifetime, and makes it at the first call.
func (l *lifetime) context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil {
		var inner context.Context
		inner, l.end = context.WithCancelCause(l.gate)
		l.made, l.stop = context.WithDeadlineCause(inner, l.deadline, record.ErrTimeout)
		if l.ended != nil {
			l.end(l.ended)
			l.stop()
		}
	}
	return l.made
}

// cause returns why the lifetime has ended; nil: it has not.
func (l *lifetime) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.made != nil:
		return context.Cause(l.made)
	case l.ended != nil:
		return l.ended
	case l.gate.Err() != nil:
		return context.Cause(l.gate)
	case !time.Now().Before(l.deadline):
		return record.ErrTimeout
	}
	return nil
}

// Deadline returns when ExecutionTimeout ends it. Like Done, Err and Value it is a method of context.Context.
func (l *lifetime) Deadline() (time.Time, bool) { return l.deadline, true }

// Done is closed when the lifetime has ended.
func (l *lifetime) Done() <-chan struct{} { return l.context().Done() }

// Err is nil until the lifetime has ended.
func (l *lifetime) Err() error { return l.context().Err() }

// Value has only what context.Cause looks for.
func (l *lifetime) Value(key any) any { return l.context().Value(key) }
