package sweeper

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncegate/oncegate/internal/sleep"
)

func TestAPauseIsFourTimesAsLongAsItsBatch(t *testing.T) {
	for _, batch := range []time.Duration{0, time.Microsecond, 3 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			took, err := pace{timeout: time.Minute, rest: sleep.For}.do(t.Context(), func(context.Context) error {
				time.Sleep(batch)
				return nil
			})
			if err != nil || took != batch || time.Since(begun) != 5*batch {
				t.Errorf("a batch of %v: took %v, with its pause %v, error %v", batch, took, time.Since(begun), err)
			}
		})
	}
}

func TestABatchHasADeadlineAndNoPauseBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		_, err := pace{timeout: time.Second, rest: sleep.For}.do(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

func TestAPauseEndsWithTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		_, err := pace{timeout: time.Minute, rest: sleep.For}.do(ctx, func(context.Context) error {
			time.Sleep(time.Second)
			return nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}
