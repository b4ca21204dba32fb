package handler

import (
	"crypto/sha256"
	"testing"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

func TestABodyIsTakenForNoOther(t *testing.T) {
	var r recall
	one, other := [sha256.Size]byte{31: 1}, [sha256.Size]byte{31: 2} // of one slot
	name := fingerprint.Fingerprint{7}
	r.add(&one, name)
	if got, ok := r.find(&one); !ok || got != name {
		t.Errorf("it is not recognised: %v, %v", got, ok)
	}
	if got, ok := r.find(&other); ok {
		t.Errorf("another body is taken for it: %v", got)
	}
	r.add(&other, fingerprint.Fingerprint{8})
	if got, ok := r.find(&one); ok {
		t.Errorf("it is found where another one stands: %v", got)
	}
}
