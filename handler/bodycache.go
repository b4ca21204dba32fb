package handler

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

// bodyCache maps the SHA-256 of bodies that were decoded and replayed lately to their fingerprints, for each tenant. In
// a storm the same bytes come again and again, and need not be decoded again. A new body displaces the one in its slot.
// A body is not in it if its tenant's identity stands in a header.
type bodyCache struct {
	slots [1 << 14]atomic.Pointer[cachedBody]
}

type cachedBody struct {
	tenant *tenant // with other rules it is another one
	body   [sha256.Size]byte
	name   fingerprint.Fingerprint
	digest record.Digest // as records hold it: keyed if results are sealed
}

func (c *bodyCache) slot(body *[sha256.Size]byte) *atomic.Pointer[cachedBody] {
	return &c.slots[binary.LittleEndian.Uint16(body[:])%uint16(len(c.slots))]
}

// find returns the entry of a tenant's body, or nil. The entry is shared and must not be changed.
func (c *bodyCache) find(t *tenant, body *[sha256.Size]byte) *cachedBody {
	if known := c.slot(body).Load(); known != nil && known.body == *body && known.tenant == t {
		return known
	}
	return nil
}

func (c *bodyCache) add(known cachedBody) { c.slot(&known.body).Store(&known) }
