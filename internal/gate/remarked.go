package gate

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// remarked keeps the fingerprints that the log has said something about. If another fingerprint displaces one, the log
// may say it once more.
type remarked struct {
	slots [1 << 14]atomic.Uint64 // the last 8 bytes of a fingerprint
}

// first reports whether a fingerprint is new, and keeps it.
func (r *remarked) first(f fingerprint.Fingerprint) bool {
	tag := binary.LittleEndian.Uint64(f[len(f)-8:])
	return r.slots[binary.LittleEndian.Uint16(f[:])%uint16(len(r.slots))].Swap(tag) != tag
}
