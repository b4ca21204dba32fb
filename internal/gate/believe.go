package gate

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/scripts"
)

// signals are what tells this replica that Redis may have forgotten: a lost connection, FLUSHALL, another history in a
// reply, a renewal that put its record back. A reply to what was sent before the last signal is not believed but asked
// again; and until a claim sent after it has been answered otherwise than "settling", nothing is replayed from the
// client-side cache.
type signals struct {
	raised   atomic.Uint64 // how many so far
	answered atomic.Uint64 // as many had been raised when the last claim so answered was sent
	poke     chan struct{} // wakes the keeper, which heals; holds one

	mu      sync.Mutex
	history scripts.History // the last one told
}

func (s *signals) raise() {
	s.raised.Add(1)
	s.wake()
}

// wake makes the keeper heal.
func (s *signals) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// open reports whether the cache must not be trusted.
func (s *signals) open() bool { return s.answered.Load() != s.raised.Load() }

// settle notes that a claim sent after `sent` signals has been answered otherwise than "settling".
func (s *signals) settle(sent uint64) {
	for {
		answered := s.answered.Load()
		if answered >= sent || s.answered.CompareAndSwap(answered, sent) {
			return
		}
	}
}

// told compares the history that a reply carries with the last one. The first one told is no signal.
func (s *signals) told(h scripts.History) (changed bool) {
	if h == (scripts.History{}) {
		return false // this Redis says nothing of its history, or could not note it
	}
	s.mu.Lock()
	last := s.history
	s.history = h
	s.mu.Unlock()
	if last == h || last == (scripts.History{}) {
		return false
	}
	s.raise()
	return true
}

// redisNow is Redis' clock as the last reply showed it.
func (b *bucket) redisNow() time.Time { return time.Now().Add(time.Duration(b.offset.Load())) }
