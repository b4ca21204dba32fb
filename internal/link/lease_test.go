package link

import (
	"testing"
	"time"
)

func TestALeaseEndsByWhicheverClockRanFarther(t *testing.T) {
	l := NewLease(time.Now(), time.Hour)
	l.sent = l.sent.Round(0) // no monotonic reading: what is left is told by the wall clock
	l.sent = l.sent.Add(-2 * time.Hour)
	if !l.Over() {
		t.Error("the wall clock's two hours do not end it")
	}
	l = NewLease(time.Now().Add(-2*time.Hour), time.Hour) // Add moves both readings
	if !l.Over() {
		t.Error("the monotonic clock's two hours do not end it")
	}
}
