package link

import "github.com/oncegate/oncegate/scripts"

// Beliefs are all that a link knows from Redis. The proof of every interleaving saves them and puts them back.
type Beliefs struct {
	Epoch        Epoch
	CacheTrusted bool
	History      scripts.History // the last one that Redis told
}

// Beliefs returns what the link knows now.
func (l *Link) Beliefs() Beliefs {
	l.epochs.mu.Lock()
	defer l.epochs.mu.Unlock()
	return Beliefs{l.Epoch(), l.CacheTrusted(), l.epochs.history}
}

// Believe replaces what the link knows. No call may be under way.
func (l *Link) Believe(b Beliefs) {
	l.epochs.current.Store(uint64(b.Epoch))
	l.epochs.trusted.Store(uint64(b.Epoch))
	if !b.CacheTrusted {
		l.epochs.trusted.Store(uint64(b.Epoch) - 1)
	}
	l.epochs.history = b.History
}
