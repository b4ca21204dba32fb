package gate

import (
	"log/slog"
	"testing"

	"github.com/oncegate/oncegate/internal/record"
)

func TestWhoseClaimIsUnderWayIsNotRefusedAndWhoIsRefusedIsNotClaimedFor(t *testing.T) {
	b := newBucket(New(Options{RejectMismatch: true}), "cognigy")
	c := &caller{webhook: Webhook{Digest: record.Digest{2}, Take: func() (Execution, slog.LogValuer) { return nil, nil }}}
	f := &flight{callers: []*caller{c}, named: make(chan struct{})}
	f.name(record.Digest{1}) // another one's body, before this caller came

	if _, waits := b.nominate(f); !waits {
		t.Fatal("nobody waits")
	}
	differs, undecided := b.differs(f, c)
	if differs || undecided != f.decided || c.gone {
		t.Errorf("while a claim for it is under way: differs %v, gone %v", differs, c.gone)
	}

	f.candidate = nil // the claim was answered: not for it
	if differs, _ := b.differs(f, c); !differs {
		t.Error("it is not refused, although another body is executed")
	}
	if w, waits := b.nominate(f); waits {
		t.Errorf("after it was refused it is claimed for: %+v", w)
	}
}
