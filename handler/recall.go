package handler

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// recall knows the fingerprints of bodies that were decoded and replayed lately: in a storm the same bytes come again
// and again, and equal bytes (by SHA-256) mean the same. It forgets whom another one displaces.
type recall struct {
	slots [1 << 14]atomic.Pointer[recalled]
}

type recalled struct {
	body [sha256.Size]byte
	name fingerprint.Fingerprint
}

func (r *recall) slot(body *[sha256.Size]byte) *atomic.Pointer[recalled] {
	return &r.slots[binary.LittleEndian.Uint16(body[:])%uint16(len(r.slots))]
}

func (r *recall) find(body *[sha256.Size]byte) (name fingerprint.Fingerprint, ok bool) {
	if known := r.slot(body).Load(); known != nil && known.body == *body {
		return known.name, true
	}
	return name, false
}

func (r *recall) add(body *[sha256.Size]byte, name fingerprint.Fingerprint) {
	r.slot(body).Store(&recalled{*body, name})
}
