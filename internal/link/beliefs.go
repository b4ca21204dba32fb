package link

import "github.com/oncegate/oncegate/scripts"

// Beliefs are all that a link knows of what Redis said. The proof of every interleaving takes them down and puts them
// back.
type Beliefs struct {
	Epoch        Epoch
	CacheTrusted bool
	History      scripts.History // the last one that Redis told
}

// Beliefs returns those of now.
func (l *Link) Beliefs() Beliefs {
	l.epochs.mu.Lock()
	defer l.epochs.mu.Unlock()
	return Beliefs{l.Epoch(), l.CacheTrusted(), l.epochs.history}
}

// Believe replaces what a link knows. Nothing may be under way.
func (l *Link) Believe(b Beliefs) {
	l.epochs.current.Store(uint64(b.Epoch))
	l.epochs.trusted.Store(uint64(b.Epoch))
	if !b.CacheTrusted {
		l.epochs.trusted.Store(uint64(b.Epoch) - 1)
	}
	l.epochs.history = b.History
}
