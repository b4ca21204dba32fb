package gate

import (
	"sync/atomic"
	"time"
)

// untrackedFor is how long a result that Redis does not track for this replica answers duplicates. If somebody deletes
// a record in Redis by hand, its result is replayed for no longer than this.
const untrackedFor = 5 * time.Second

// forgets knows whether a person may have had a webhook of this bucket forgotten. The results that a replica has just
// stored or found answer duplicates without another look at Redis, and Redis does not track them for it: most webhooks
// never come again, and an entry in Redis' table for each would cost more than it saves. Redis tracks one key instead,
// which every forget changes in its own call.
type forgets struct {
	key     string        // fixed at construction
	changes atomic.Uint64 // how often a forget was heard of, or may have been missed
	tracked atomic.Uint64 // 1 + changes, while Redis tracks the key; 0: Redis does not
}

// mark is taken before a result is stored or asked for, and compared when the result answers a duplicate: if the mark
// has changed, a forget may lie between. 0: no result may answer.
func (s *forgets) mark() uint64 { return s.tracked.Load() }

// changed notes a forget, or that a forget may be missed from now on.
func (s *forgets) changed() {
	s.changes.Add(1)
	s.tracked.Store(0)
}

// track makes Redis track the key, if it does not yet. Whichever of track and changed runs second sees the other. If
// the key counts as tracked but is not in the client-side cache, nobody tracks it (its slot may have moved): then a
// forget may have been missed.
func (s *forgets) track(b *bucket) {
	if !b.gate.tracking {
		return
	}
	changes := s.changes.Load()
	hit, err := b.link.Track(s.key)
	if err != nil || hit && s.mark() != 0 {
		return // the keeper tries again
	}
	if s.mark() != 0 {
		s.changed()
		changes++
	}
	s.tracked.Store(changes + 1)
	if s.changes.Load() != changes {
		s.tracked.Store(0)
	}
}
