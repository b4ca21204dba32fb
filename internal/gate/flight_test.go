package gate

import (
	"testing"

	"github.com/oncegate/oncegate/internal/record"
)

func TestACallerWhoseClaimIsUnderWayIsNotRefusedAndARefusedOneIsNotClaimedFor(t *testing.T) {
	b := newBucket(New(Options{Rules: Rules{RejectMismatch: true}}), "cognigy")
	c := &caller{waiting: waiting{webhook: Request{
		Tenant: b.nameless(), Digest: record.Digest{2}, Source: ran{},
	}}}
	f := newFlight(b, b.asks(named(1), record.Digest{2}))
	f.callers = []*caller{c}
	f.setDigest(record.Digest{1}) // another one's body, before this caller came

	if _, waits := b.flights.pickLeader(f); !waits {
		t.Fatal("nobody waits")
	}
	if f.differs(c) || c.departed {
		t.Errorf("while a claim for it is under way: departed %v", c.departed)
	}

	f.leader = nil // the claim was answered: not for it
	if !f.differs(c) {
		t.Error("it is not refused, although another body is executed")
	}
	if w, waits := b.flights.pickLeader(f); waits {
		t.Errorf("after it was refused it is claimed for: %+v", w)
	}
}
