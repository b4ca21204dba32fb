package link

import (
	"testing"

	"github.com/oncegate/oncegate/scripts"
)

func TestAFactOfAnOldEpochGivesNothingOut(t *testing.T) {
	l := New(Options{})
	f := Told(l, "booked")
	if value, ok := f.Now(); !ok || value != "booked" {
		t.Errorf("%q, %v", value, ok)
	}
	l.SuspectLoss()
	if value, ok := f.Now(); ok || value != "" {
		t.Errorf("after a loss was suspected: %q, %v", value, ok)
	}
	if value, ok := Then(f, func(s string) int { return len(s) }).Now(); ok || value != 0 {
		t.Errorf("what follows from it: %d, %v", value, ok)
	}
	if _, ok := (Fact[string]{}).Now(); ok {
		t.Error("the zero Fact says something")
	}
}

// TestALossThatIsSuspectedDuringTheNoteIsSeen: the note comes first, so that a loss in between is either put back or
// seen.
func TestALossThatIsSuspectedDuringTheNoteIsSeen(t *testing.T) {
	l := New(Options{})
	noted := ""
	value, ok := Told(l, "booked").After(func(s string, e Epoch) {
		noted = s
		l.SuspectLoss()
	})
	if ok || value != "" || noted != "booked" {
		t.Errorf("%q, %v, noted %q", value, ok, noted)
	}
}

func TestTheCacheIsTrustedAgainWithTheFirstClaimSentAfterALoss(t *testing.T) {
	l := New(Options{})
	before := l.Epoch()
	l.SuspectLoss()
	if l.CacheTrusted() || l.Current(before) {
		t.Error("after a loss was suspected")
	}
	l.epochs.trust(before)
	if l.CacheTrusted() {
		t.Error("a claim that was sent before the loss makes the cache trusted")
	}
	l.epochs.trust(l.Epoch())
	if !l.CacheTrusted() {
		t.Error("a claim that was sent after the loss does not")
	}
	select {
	case <-l.Losses():
	default:
		t.Error("nobody is woken")
	}
}

func TestAnotherHistoryBeginsAnEpochAndTheFirstOneDoesNot(t *testing.T) {
	l := New(Options{})
	one, two := scripts.History{ID: "a", Met: 1}, scripts.History{ID: "a", Met: 2}
	for _, c := range []struct {
		history scripts.History
		changed bool
	}{{scripts.History{}, false}, {one, false}, {one, false}, {scripts.History{}, false}, {two, true}, {two, false}} {
		before := l.Epoch()
		if l.epochs.observe(c.history) != c.changed || l.Current(before) == c.changed {
			t.Errorf("%+v: changed %v", c.history, !c.changed)
		}
	}
}
