package gate

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

// seen is a small table of the fingerprints that were done here lately. Only they are looked up in the client-side
// cache, since a miss there costs a first-time webhook a whole round trip; and of those, the records that were found are
// kept parsed, so that a storm costs no more than this look.
//
// It forgets whom another one displaces, and may take one for another where it says "has" (64 bits of each are kept):
// both cost a round trip, no more. A record is kept under its whole name.
type seen struct {
	slots [1 << 16]slot
	bytes atomic.Int64  // of the records kept
	hand  atomic.Uint32 // the slot that is emptied next, where there are too many
}

type slot struct {
	tag     atomic.Uint64
	changed atomic.Uint32 // how often Redis told of a change of what may be here
	kept    atomic.Pointer[kept]
}

// kept is a record that the client-side cache held, as it was when so many signals of a loss had been raised.
type kept struct {
	name    fingerprint.Fingerprint
	record  record.Record
	signals uint64
}

// Bounds of what is kept beside the client-side cache, whose memory it shares until that one lets go.
const (
	maxKept      = 64 << 20
	maxKeptOne   = 64 << 10
	keptOverhead = 256
)

func (k *kept) size() int64 { return int64(len(k.record.Result.Body)) + keptOverhead }

func (s *seen) slot(f fingerprint.Fingerprint) *slot {
	return &s.slots[binary.LittleEndian.Uint16(f[:])]
}

func tag(f fingerprint.Fingerprint) uint64 { return binary.LittleEndian.Uint64(f[8:]) }

func (s *seen) add(f fingerprint.Fingerprint) { s.slot(f).tag.Store(tag(f)) }

func (s *seen) has(f fingerprint.Fingerprint) bool { return s.slot(f).tag.Load() == tag(f) }

// forget leaves a fingerprint to the script.
func (s *seen) forget(f fingerprint.Fingerprint) { s.slot(f).tag.CompareAndSwap(tag(f), 0) }

// record returns what is kept, if no signal of a loss has come since; it must not be changed.
func (s *seen) record(f fingerprint.Fingerprint, signals uint64) *record.Record {
	k := s.slot(f).kept.Load()
	if k == nil || k.name != f || k.signals != signals {
		return nil
	}
	return &k.record
}

// changes must be asked for before the cache is read whose record is then kept.
func (s *seen) changes(f fingerprint.Fingerprint) uint32 { return s.slot(f).changed.Load() }

// keep takes a record in. Where it has changed since changes was called, it is dropped again: whichever comes second,
// this or drop, sees the other.
func (s *seen) keep(f fingerprint.Fingerprint, r record.Record, signals uint64, changes uint32) {
	k := &kept{f, r, signals}
	if k.size() > maxKeptOne {
		return
	}
	slot := s.slot(f)
	s.replace(slot, k)
	if slot.changed.Load() != changes {
		s.replace(slot, nil)
	}
	for s.bytes.Load() > maxKept {
		s.replace(&s.slots[s.hand.Add(1)%uint32(len(s.slots))], nil)
	}
}

// drop forgets a record that has changed in Redis.
func (s *seen) drop(f fingerprint.Fingerprint) {
	slot := s.slot(f)
	slot.changed.Add(1)
	s.replace(slot, nil)
}

func (s *seen) replace(slot *slot, k *kept) {
	if k != nil {
		s.bytes.Add(k.size())
	}
	if old := slot.kept.Swap(k); old != nil {
		s.bytes.Add(-old.size())
	}
}
