package link

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

func TestAtMost65536ClaimsThatWereGivenUpAreKept(t *testing.T) {
	l := New(Options{Settings: Settings{LockTTL: time.Minute}})
	for range 65_536 + 10 {
		l.Abandon("k", "t", nil)
	}
	if n := l.Abandoned(); n != 65_536 {
		t.Errorf("%d are kept", n)
	}
}

func TestAClaimWhoseFailingHadNoAnswerIsFailedAgain(t *testing.T) {
	l := dial(t, nil)
	l.Do(claimOf("k", "t"))
	l.Abandon("k", "t", nil)
	l.engine.Says("EVALSHA", redistest.HangUp)
	l.FailAbandoned()
	if n := l.Abandoned(); n != 1 {
		t.Fatalf("%d are still to be failed", n)
	}
	l.engine.Passes()
	for deadline := time.Now().Add(30 * time.Second); l.InTrouble() && time.Now().Before(deadline); {
		_ = l.Probe()
	}
	l.FailAbandoned()
	if r := l.stands("k"); l.Abandoned() != 0 || r.State != record.Failed || r.Reason != "unanswered" {
		t.Errorf("%d are still to be failed, and %+v stands", l.Abandoned(), r)
	}
}

func TestClaimsAreFailedInGroups(t *testing.T) {
	const claims = 300
	l := dial(t, nil)
	for n := range claims {
		l.Abandon(fmt.Sprint("k", n), "t", nil)
	}
	l.hears(func(command string) {
		if keys, _ := strconv.Atoi(strings.Fields(command)[2]); keys-2 > MaxGroup {
			t.Errorf("%d claims are failed in one call", keys-2)
		}
	})
	l.calls.Store(0)
	l.FailAbandoned()
	if calls := l.calls.Load(); l.Abandoned() != 0 || calls != 3 {
		t.Errorf("%d are left after %d calls", l.Abandoned(), calls)
	}
}
