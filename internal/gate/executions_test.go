package gate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

func running(length time.Duration) *execution {
	e := &execution{lease: link.NewLease(time.Now(), length)}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	return e
}

func TestAnExecutionIsCancelledWhenItsLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := executions{running: make(map[*execution]struct{})}
		e := running(time.Minute)
		s.add(e)
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		if e.ctx.Err() != nil {
			t.Fatal("cancelled before its lease was over")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !errors.Is(context.Cause(e.ctx), record.ErrLeaseLost) {
			t.Errorf("its cause is %v", context.Cause(e.ctx))
		}
	})
}

func TestARenewalCountsFromWhenItWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := executions{running: make(map[*execution]struct{})}
		e := running(time.Minute)
		s.add(e)
		time.Sleep(20 * time.Second)
		if len(s.due(20*time.Second)) != 1 || len(s.due(20*time.Second+1)) != 0 {
			t.Error("it is due when it is as old as asked, not before")
		}
		sent := link.NewLease(time.Now(), time.Minute)
		time.Sleep(30 * time.Second) // its answer takes that long
		s.renewed(e, sent)
		time.Sleep(30*time.Second - time.Nanosecond)
		synctest.Wait()
		if e.ctx.Err() != nil {
			t.Fatal("cancelled before the renewed lease was over")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if e.ctx.Err() == nil {
			t.Error("it goes on past the renewed lease")
		}
	})
}

func TestAnExecutionThatEndedIsNotFencedByALateRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := executions{running: make(map[*execution]struct{})}
		e := running(time.Minute)
		s.add(e)
		s.remove(e)
		s.renewed(e, link.NewLease(time.Now(), time.Minute))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if e.ctx.Err() != nil {
			t.Error("its timer still ran")
		}
	})
}
