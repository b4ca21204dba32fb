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
	e.lifetime.gate, e.lifetime.deadline = context.Background(), time.Now().Add(24*time.Hour)
	return e
}

func TestAnExecutionIsCancelledWhenItsLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s executions
		e := running(time.Minute)
		s.add(e)
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		if e.lifetime.Err() != nil {
			t.Fatal("cancelled before its lease was over")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !errors.Is(context.Cause(&e.lifetime), record.ErrLeaseLost) {
			t.Errorf("its cause is %v", context.Cause(&e.lifetime))
		}
	})
}

func TestARenewalCountsFromWhenItWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s executions
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
		if e.lifetime.Err() != nil {
			t.Fatal("cancelled before the renewed lease was over")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if e.lifetime.Err() == nil {
			t.Error("it goes on past the renewed lease")
		}
	})
}

func TestAnExecutionThatEndedIsNotFencedByALateRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s executions
		e := running(time.Minute)
		s.add(e)
		s.remove(e)
		s.renewed(e, link.NewLease(time.Now(), time.Minute))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if e.lifetime.Err() != nil {
			t.Error("its timer still ran")
		}
	})
}

func TestTheShortestLeaseIsOverFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s executions
		long, short, ended := running(time.Hour), running(time.Minute), running(time.Second)
		for _, e := range []*execution{long, short, ended} {
			s.add(e)
		}
		s.remove(ended)
		for _, c := range []struct {
			after           time.Duration
			long, shortOver bool
		}{
			{59 * time.Second, false, false}, {time.Second, false, true}, {58 * time.Minute, false, true},
			{time.Minute, true, true},
		} {
			time.Sleep(c.after)
			synctest.Wait()
			if (long.lifetime.Err() != nil) != c.long || (short.lifetime.Err() != nil) != c.shortOver {
				t.Errorf("after another %v: the long one %v, the short one %v", c.after, long.lifetime.Err(), short.lifetime.Err())
			}
		}
		if ended.lifetime.Err() != nil || s.count() != 2 {
			t.Errorf("the one that ended: %v, %d are left", ended.lifetime.Err(), s.count())
		}
	})
}
