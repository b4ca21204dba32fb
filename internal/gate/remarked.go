package gate

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// remarked knows of which fingerprints something was said in the log. It forgets a fingerprint that another one
// displaces: then it is said once more.
type remarked struct {
	slots [1 << 14]atomic.Uint64 // the last 8 bytes of a fingerprint
}

// first reports whether a fingerprint is new here, and keeps it.
func (r *remarked) first(f fingerprint.Fingerprint) bool {
	tag := binary.LittleEndian.Uint64(f[len(f)-8:])
	return r.slots[binary.LittleEndian.Uint16(f[:])%uint16(len(r.slots))].Swap(tag) != tag
}
