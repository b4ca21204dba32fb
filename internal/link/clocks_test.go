package link

import (
	"testing"
	"time"
	"unsafe"
)

// stepWall moves the wall reading of a moment and leaves its monotonic one alone, as a clock that is stepped does, or a
// machine that sleeps. Package time has no way to do that: a moment with both readings keeps the wall's seconds above
// the lowest 30 bits of its first word.
func stepWall(at time.Time, seconds int64) time.Time {
	word := (*uint64)(unsafe.Pointer(&at))
	*word = uint64(int64(*word) + seconds<<30)
	return at
}

func TestALeaseEndsByTheWallClockAlsoWhereTheMonotonicOneStoodStill(t *testing.T) {
	const hours = 2 * 60 * 60
	now := time.Now()
	stepped := stepWall(now, -hours)
	if wall := now.Round(0).Sub(stepped.Round(0)); wall != hours*time.Second || now.Sub(stepped) != 0 {
		t.Fatalf("this test cannot step a clock: %v", wall)
	}
	if slept := NewLease(stepWall(time.Now(), -hours), time.Hour); !slept.Over() {
		t.Error("the machine slept for two hours, and the lease of one hour is not over")
	}
	if setBack := NewLease(stepWall(time.Now().Add(-hours*time.Second), hours), time.Hour); !setBack.Over() {
		t.Error("the clock was set back by two hours, and the lease of one hour is not over after two")
	}
}
