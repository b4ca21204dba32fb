package handler

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

// bodyCache knows the bodies that were decoded and replayed lately, for each tenant. In a storm the same bytes come
// again and again, and need neither be decoded nor hashed again. A new body displaces the one in its slot. Large bodies
// are not kept, nor those of a tenant whose identity is in a header.
type bodyCache struct {
	seed  maphash.Seed // fixed at construction
	slots [1 << 12]atomic.Pointer[cachedBody]
}

// maxCachedBody bounds a body in the cache, in bytes: all slots together hold 32 MiB at most.
const maxCachedBody = 8 << 10

type cachedBody struct {
	tenant *tenant // a reload that changes its rules makes another one
	body   []byte
	name   fingerprint.Fingerprint
	digest record.Digest // as in records: keyed if results are sealed
}

func (c *bodyCache) slot(body []byte) *atomic.Pointer[cachedBody] {
	return &c.slots[maphash.Bytes(c.seed, body)%uint64(len(c.slots))]
}

// find returns the entry of a tenant's body, or nil. The entry is shared and must not be changed.
func (c *bodyCache) find(t *tenant, body []byte) *cachedBody {
	if len(body) > maxCachedBody {
		return nil
	}
	if known := c.slot(body).Load(); known != nil && known.tenant == t && bytes.Equal(known.body, body) {
		return known
	}
	return nil
}

// add takes in a body, which it copies.
func (c *bodyCache) add(known cachedBody) {
	if len(known.body) <= maxCachedBody {
		known.body = bytes.Clone(known.body)
		c.slot(known.body).Store(&known)
	}
}
