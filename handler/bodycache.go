package handler

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

// bodyCache knows the fingerprints of bodies that were decoded and replayed lately: in a storm the same bytes come
// again and again, and equal bytes (by SHA-256) mean the same. A body displaces the one that stands in its slot.
type bodyCache struct {
	slots [1 << 14]atomic.Pointer[cachedBody]
}

type cachedBody struct {
	body   [sha256.Size]byte
	name   fingerprint.Fingerprint
	digest record.Digest // keyed, so that a storm does not pay for that
}

func (c *bodyCache) slot(body *[sha256.Size]byte) *atomic.Pointer[cachedBody] {
	return &c.slots[binary.LittleEndian.Uint16(body[:])%uint16(len(c.slots))]
}

// find returns what is known of a body, or nil. It must not be changed.
func (c *bodyCache) find(body *[sha256.Size]byte) *cachedBody {
	if known := c.slot(body).Load(); known != nil && known.body == *body {
		return known
	}
	return nil
}

func (c *bodyCache) add(known cachedBody) { c.slot(&known.body).Store(&known) }
