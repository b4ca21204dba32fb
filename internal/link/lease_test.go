package link

import (
	"testing"
	"time"
)

func TestALeaseEndsByWhicheverClockRanFarther(t *testing.T) {
	l := NewLease(time.Now(), time.Hour)
	l.sent = l.sent.Round(0) // no monotonic reading: only the wall clock counts
	l.sent = l.sent.Add(-2 * time.Hour)
	if !l.Over() {
		t.Error("the wall clock's two hours do not end it")
	}
	l = NewLease(time.Now().Add(-2*time.Hour), time.Hour) // Add moves both readings
	if !l.Over() {
		t.Error("the monotonic clock's two hours do not end it")
	}
}
