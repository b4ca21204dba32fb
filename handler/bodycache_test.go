package handler

import (
	"crypto/sha256"
	"testing"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

func TestABodyIsTakenForNoOther(t *testing.T) {
	var c bodyCache
	one, other := [sha256.Size]byte{31: 1}, [sha256.Size]byte{31: 2} // of one slot
	name := fingerprint.Fingerprint{7}
	c.add(cachedBody{body: one, name: name})
	if got := c.find(nil, &one); got == nil || got.name != name {
		t.Errorf("it is not recognised: %v", got)
	}
	if got := c.find(nil, &other); got != nil {
		t.Errorf("another body is taken for it: %v", got)
	}
	if got := c.find(new(tenant), &one); got != nil {
		t.Errorf("another tenant's is taken for it: %v", got)
	}
	c.add(cachedBody{body: other, name: fingerprint.Fingerprint{8}})
	if got := c.find(nil, &one); got != nil {
		t.Errorf("it is found where another one stands: %v", got)
	}
}
