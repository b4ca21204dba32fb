package link

import (
	"sync"
	"sync/atomic"

	"github.com/oncegate/oncegate/scripts"
)

// Epoch grows with each sign that Redis may have lost data: a lost connection, FLUSHALL, another history in a reply, a
// renewal that put its record back. An answer to a question of an older epoch proves nothing: it is asked again.
type Epoch uint64

// epochs counts the suspected losses.
type epochs struct {
	current atomic.Uint64
	trusted atomic.Uint64 // the epoch of the last claim with an answer other than "settling"
	losses  chan struct{} // wakes the keeper, which heals; holds one

	mu      sync.Mutex
	history scripts.History // the last one that Redis told
}

// Epoch returns the current one.
func (l *Link) Epoch() Epoch { return Epoch(l.epochs.current.Load()) }

// Current reports whether no loss has been suspected since an epoch.
func (l *Link) Current(e Epoch) bool { return l.Epoch() == e }

// SuspectLoss begins a new epoch and wakes the keeper. It never blocks.
func (l *Link) SuspectLoss() { l.epochs.begin() }

// Losses wakes the keeper once for any number of losses that were suspected.
func (l *Link) Losses() <-chan struct{} { return l.epochs.losses }

// WakeKeeper makes the keeper heal although no loss is suspected: there is something to put back that it may have
// missed.
func (l *Link) WakeKeeper() { l.epochs.wake() }

// CacheTrusted reports whether the client-side cache may answer. After a suspected loss it must not, until a claim that
// was sent later has an answer other than "settling".
func (l *Link) CacheTrusted() bool { return l.epochs.trusted.Load() == l.epochs.current.Load() }

func (s *epochs) begin() {
	s.current.Add(1)
	s.wake()
}

func (s *epochs) wake() {
	select {
	case s.losses <- struct{}{}:
	default:
	}
}

// trust notes that a claim sent in an epoch has an answer other than "settling".
func (s *epochs) trust(e Epoch) {
	for {
		trusted := s.trusted.Load()
		if trusted >= uint64(e) || s.trusted.CompareAndSwap(trusted, uint64(e)) {
			return
		}
	}
}

// observe compares the history in a reply with the last one, and reports whether it began a new epoch. The first
// history is no loss.
func (s *epochs) observe(h scripts.History) (changed bool) {
	if h == (scripts.History{}) {
		return false // this Redis tells no history, or could not note it
	}
	s.mu.Lock()
	last := s.history
	s.history = h
	s.mu.Unlock()
	if last == h || last == (scripts.History{}) {
		return false
	}
	s.begin()
	return true
}
