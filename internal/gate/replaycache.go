package gate

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/hot"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

// replayCache is a small table of the fingerprints that were done here lately. Only these are looked up in the
// client-side cache, because a miss there costs a first-time webhook a whole round trip. The records that were found
// are kept parsed, so that each delivery of a storm costs no more than a look into this table.
//
// A fingerprint displaces another one in its slot. The method has may take one fingerprint for another, because it
// compares 64 bits of each: then there is one needless round trip. A record is found under its whole fingerprint only.
type replayCache struct {
	slots [1 << 16]slot
	bytes atomic.Int64  // of the records kept
	hand  atomic.Uint32 // the slot to empty next, if there are too many bytes
}

type slot struct {
	tag     atomic.Uint64
	changed atomic.Uint32 // how often Redis told of a change of a record that may be here
	untold  atomic.Int32  // replays that no event of the trail has counted
	kept    atomic.Pointer[cachedRecord]
}

// cachedRecord is a record that was in Redis in an epoch.
type cachedRecord struct {
	hot       hot.Entry     // names its webhook, and counts its replays
	record    record.Record // a copy: the execution's own record would keep the whole execution in memory
	epoch     link.Epoch
	untracked untracked
}

// untracked bounds how long a record answers that Redis does not track for this replica; zero: Redis tracks it.
type untracked struct {
	mark  uint64    // of the bucket's forgets, taken before the record was stored or asked for
	until time.Time // it answers until then
}

// Bounds of what is kept beside the client-side cache. A record shares that cache's memory until the cache lets it go.
const (
	maxKept      = 64 << 20
	maxKeptOne   = 64 << 10
	keptOverhead = 512
)

func (k *cachedRecord) size() int64 { return int64(len(k.record.Result.Body)) + keptOverhead }

func (s *replayCache) slot(f fingerprint.Fingerprint) *slot {
	return &s.slots[binary.LittleEndian.Uint16(f[:])]
}

func tag(f fingerprint.Fingerprint) uint64 { return binary.LittleEndian.Uint64(f[8:]) }

func (s *replayCache) add(f fingerprint.Fingerprint) {
	if slot := s.slot(f); slot.tag.Swap(tag(f)) != tag(f) {
		slot.untold.Store(0)
	}
}

func (s *replayCache) has(f fingerprint.Fingerprint) bool { return s.slot(f).tag.Load() == tag(f) }

// forget removes a fingerprint, so that the script is asked.
func (s *replayCache) forget(f fingerprint.Fingerprint) { s.slot(f).tag.CompareAndSwap(tag(f), 0) }

// record returns the record that is kept, if its epoch is still current and no forget of it can have been missed. It
// must not be changed.
func (s *replayCache) record(
	tenant string, f fingerprint.Fingerprint, epoch link.Epoch, mark uint64, now time.Time,
) *cachedRecord {
	k := s.slot(f).kept.Load()
	switch {
	case k == nil || k.hot.Fingerprint != f || k.hot.Tenant != tenant || k.epoch != epoch:
		return nil
	case k.untracked.mark != 0 && (k.untracked.mark != mark || now.After(k.untracked.until)):
		return nil
	}
	return k
}

// changes must be called before the cache is read, if the record that is read is then kept.
func (s *replayCache) changes(f fingerprint.Fingerprint) uint32 { return s.slot(f).changed.Load() }

// keepUntracked keeps a record that this replica has stored, or was told by the script. The mark was taken before that.
func (s *replayCache) keepUntracked(
	t *Tenant, f fingerprint.Fingerprint, r *record.Record, epoch link.Epoch, mark uint64,
) {
	if s.add(f); mark == 0 {
		return
	}
	k := &cachedRecord{
		hot.Entry{Fingerprint: f, Tenant: t.Name}, *r, epoch, untracked{mark, time.Now().Add(untrackedFor)},
	}
	if k.size() <= maxKeptOne {
		s.replace(s.slot(f), k)
		s.bound()
	}
}

// keep keeps a record that Redis tracks. If the record has changed since changes was called, it is dropped again:
// whichever of keep and drop runs second sees the other. keep returns the record as it is kept, or as it would be if it
// were smaller.
func (s *replayCache) keep(
	tenant string, f fingerprint.Fingerprint, r *record.Record, epoch link.Epoch, changes uint32,
) *cachedRecord {
	k := &cachedRecord{hot.Entry{Fingerprint: f, Tenant: tenant}, *r, epoch, untracked{}}
	if k.size() > maxKeptOne {
		return k
	}
	slot := s.slot(f)
	s.replace(slot, k)
	if slot.changed.Load() != changes {
		s.replace(slot, nil)
	}
	s.bound()
	return k
}

// bound empties slots until the records are within the bound on bytes.
func (s *replayCache) bound() {
	for s.bytes.Load() > maxKept {
		s.replace(&s.slots[s.hand.Add(1)%uint32(len(s.slots))], nil)
	}
}

// drop removes a record that has changed in Redis.
func (s *replayCache) drop(f fingerprint.Fingerprint) {
	slot := s.slot(f)
	slot.changed.Add(1)
	s.replace(slot, nil)
}

func (s *replayCache) replace(slot *slot, k *cachedRecord) {
	if k != nil {
		s.bytes.Add(k.size())
	}
	if old := slot.kept.Swap(k); old != nil {
		s.bytes.Add(-old.size())
	}
}
