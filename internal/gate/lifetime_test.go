package gate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncegate/oncegate/internal/record"
)

func lives(d time.Duration) (l *lifetime, endGate context.CancelCauseFunc) {
	l = &lifetime{deadline: time.Now().Add(d)}
	l.gate, endGate = context.WithCancelCause(context.Background())
	return l, endGate
}

// TestALifetimeEndsLikeAContext: whether its logic has asked for the context before or after it ended, or never.
func TestALifetimeEndsLikeAContext(t *testing.T) {
	for what, c := range map[string]struct {
		end         func(l *lifetime, endGate context.CancelCauseFunc)
		err, reason error
	}{
		"the lease is lost": {func(l *lifetime, _ context.CancelCauseFunc) { l.cancel(record.ErrLeaseLost) },
			context.Canceled, record.ErrLeaseLost},
		"the gate ends": {func(_ *lifetime, end context.CancelCauseFunc) { end(errShutdown) }, context.Canceled, errShutdown},
		"the time is over": {func(*lifetime, context.CancelCauseFunc) { time.Sleep(time.Minute) },
			context.DeadlineExceeded, record.ErrTimeout},
		"the logic has returned": {func(l *lifetime, _ context.CancelCauseFunc) { l.finish() },
			context.Canceled, context.Canceled},
	} {
		for _, asked := range []string{"before", "after", "never"} {
			synctest.Test(t, func(t *testing.T) {
				l, endGate := lives(time.Minute)
				defer endGate(nil)
				defer l.finish()
				var child context.Context
				if asked == "before" {
					var release context.CancelFunc
					child, release = context.WithCancel(l)
					defer release()
					if l.Err() != nil || child.Err() != nil || context.Cause(l) != nil {
						t.Errorf("%s: it has ended before: %v", what, l.Err())
					}
				}
				if l.cause() != nil {
					t.Errorf("%s: it has a cause before: %v", what, l.cause())
				}
				c.end(l, endGate)
				synctest.Wait()
				if !errors.Is(l.cause(), c.reason) {
					t.Errorf("%s, asked %s: the gate sees %v", what, asked, l.cause())
				}
				if asked == "never" {
					if l.made != nil {
						t.Errorf("%s: a context was made that nobody asked for", what)
					}
					return
				}
				select {
				case <-l.Done():
				default:
					t.Errorf("%s, asked %s: it is not done", what, asked)
				}
				if !errors.Is(l.Err(), c.err) || !errors.Is(context.Cause(l), c.reason) {
					t.Errorf("%s, asked %s: %v, because of %v", what, asked, l.Err(), context.Cause(l))
				}
				if child != nil && (child.Err() == nil || !errors.Is(context.Cause(child), c.reason)) {
					t.Errorf("%s: its child: %v, because of %v", what, child.Err(), context.Cause(child))
				}
			})
		}
	}
}

func TestTheFirstCauseOfALifetimesEndStays(t *testing.T) {
	l, endGate := lives(time.Minute)
	defer endGate(nil)
	l.cancel(record.ErrLeaseLost)
	l.finish()
	if !errors.Is(context.Cause(l), record.ErrLeaseLost) {
		t.Errorf("its cause is %v", context.Cause(l))
	}
	if until, ok := l.Deadline(); !ok || !until.Equal(l.deadline) {
		t.Errorf("its deadline is %v", until)
	}
}
