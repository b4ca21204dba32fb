package handler

import (
	"bytes"
	"hash/maphash"
	"testing"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

func TestABodyIsTakenForNoOther(t *testing.T) {
	c := bodyCache{seed: maphash.MakeSeed()}
	one := []byte("one")
	name := fingerprint.Fingerprint{7}
	c.add(cachedBody{body: one, name: name})
	if got := c.find(nil, []byte("one")); got == nil || got.name != name {
		t.Errorf("it is not recognised: %v", got)
	}
	if got := c.find(new(tenant), one); got != nil {
		t.Errorf("another tenant's is taken for it: %v", got)
	}
	other := []byte("other")
	c.slot(other).Store(c.find(nil, one)) // as if both had one slot
	if got := c.find(nil, other); got != nil {
		t.Errorf("another body is taken for it: %v", got)
	}
	one[0] = 'x' // the memory of a request is used again
	if got := c.find(nil, []byte("one")); got == nil {
		t.Error("its bytes are those of a request")
	}
}

func TestALargeBodyIsNotKept(t *testing.T) {
	c := bodyCache{seed: maphash.MakeSeed()}
	for bytesOf, want := range map[int]bool{maxCachedBody: true, maxCachedBody + 1: false} {
		body := bytes.Repeat([]byte("x"), bytesOf)
		c.add(cachedBody{body: body})
		if found := c.find(nil, body) != nil; found != want || found != (c.slot(body).Load() != nil) {
			t.Errorf("%d bytes: found %v", bytesOf, found)
		}
	}
}
