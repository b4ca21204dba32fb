package tracing

import (
	"testing"
	"time"
)

// TestOnlyTheExecutionThatAnAnswerTellsOfIsPointedTo: an attempt of the same number may have been executed elsewhere,
// when the record of the one here had ended.
func TestOnlyTheExecutionThatAnAnswerTellsOfIsPointedTo(t *testing.T) {
	var r ran
	of, another := [32]byte{0, 1}, [32]byte{0, 1, 2}
	e := &run{of: of, attempt: 3}
	r.add(e)
	found := func(of [32]byte, attempt int64, age time.Duration) bool { return r.find(of, attempt, age) == e }
	if !found(of, 3, 0) || found(of, 2, 0) || found(another, 3, 0) {
		t.Error("while it runs, it is found for its own fingerprint and attempt alone")
	}
	e.ended.Store(time.Now().Add(-time.Hour).UnixNano())
	for age, want := range map[time.Duration]bool{
		time.Hour: true, time.Hour - 5*time.Second: true, time.Hour + 5*time.Second: true,
		0: false, time.Minute: false, 2 * time.Hour: false,
	} {
		if found(of, 3, age) != want {
			t.Errorf("an hour after its end it is found for a result that is %v old: %v", age, !want)
		}
	}
	r.add(&run{of: another, attempt: 1})
	if found(of, 3, time.Hour) {
		t.Error("a newer one has not taken its place")
	}
}
