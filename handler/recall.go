package handler

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

// recall knows the fingerprints of bodies that were decoded and replayed lately: in a storm the same bytes come again
// and again, and equal bytes (by SHA-256) mean the same. It forgets whom another one displaces.
type recall struct {
	slots [1 << 14]atomic.Pointer[recalled]
}

type recalled struct {
	body   [sha256.Size]byte
	name   fingerprint.Fingerprint
	digest record.Digest // keyed, so that a storm does not pay for that
}

func (r *recall) slot(body *[sha256.Size]byte) *atomic.Pointer[recalled] {
	return &r.slots[binary.LittleEndian.Uint16(body[:])%uint16(len(r.slots))]
}

// find returns what is known of a body, or nil. It must not be changed.
func (r *recall) find(body *[sha256.Size]byte) *recalled {
	if known := r.slot(body).Load(); known != nil && known.body == *body {
		return known
	}
	return nil
}

func (r *recall) add(known recalled) { r.slot(&known.body).Store(&known) }
