package gate

import (
	"sync/atomic"
	"time"
)

// untrackedFor is how long a result answers duplicates that Redis does not track for this replica. What somebody
// deletes in Redis by hand is replayed for no longer.
const untrackedFor = 5 * time.Second

// forgets tells whether a person may have had a webhook of a bucket forgotten. The results that a replica has just
// stored or found answer duplicates without another look at Redis, which tracks none of them for it: an entry in Redis'
// table for each webhook, most of which never come again, would cost more than it spares. Redis tracks one key instead,
// which every forget changes in its own call.
type forgets struct {
	key     string        // fixed at construction
	changes atomic.Uint64 // how often a forget was told, or may have been missed
	tracked atomic.Uint64 // 1 + changes, while Redis tracks the key; 0: it does not
}

// mark is taken before a result is stored or asked for, and compared when it answers: if it is another one, a forget
// may lie between. 0: nothing may answer.
func (s *forgets) mark() uint64 { return s.tracked.Load() }

// changed notes a forget, or that one may be missed from now on.
func (s *forgets) changed() {
	s.changes.Add(1)
	s.tracked.Store(0)
}

// track has Redis track the key, if it does not yet. Whichever of track and changed comes second sees the other. A key
// that counts as tracked and is not in the client-side cache is tracked by nobody, as when its slot has moved: then a
// forget may have been missed.
func (s *forgets) track(b *bucket) {
	if !b.gate.tracking {
		return
	}
	changes := s.changes.Load()
	hit, err := b.link.Track(s.key)
	if err != nil || hit && s.mark() != 0 {
		return // the keeper comes again
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
