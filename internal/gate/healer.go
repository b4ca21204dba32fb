package gate

import (
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// healer puts back what this replica knows and Redis may have forgotten. It runs in the keeper's goroutine.
type healer struct {
	bucket         *bucket
	confirmedUnder scripts.History // Redis had all of the journal under this history
}

// heal renews all running executions first, and then restores the journal. Waiting flights look again, because the
// record that they wait for may be gone. heal is repeated until Redis has answered for all.
//
// If Redis tells the history under which it had all of the journal, it has lost nothing since: only the connection was
// lost.
func (h *healer) heal() (healed bool) {
	b := h.bucket
	epoch := b.link.Epoch()
	b.flights.notifyAll()
	if !b.renew(0) {
		return false
	}
	history, _, err := b.link.Handshake()
	if err != nil {
		return false
	}
	if history == h.confirmedUnder && history != (scripts.History{}) {
		b.journal.confirmAll(epoch)
	} else if !b.putBack(epoch) {
		return false
	}
	h.confirmedUnder = history
	return b.link.Current(epoch)
}

// putBack restores the entries of the journal that Redis is not known to have in this epoch, the newest first. An entry
// that Redis has answered for is not sent again in the same epoch.
func (b *bucket) putBack(epoch link.Epoch) (done bool) {
	for entries := b.journal.unconfirmed(epoch); len(entries) > 0; {
		if !b.link.Current(epoch) {
			return false // healing begins anew
		}
		group := 0
		var ops []scripts.Op
		for bytes := 0; group < min(len(entries), link.MaxGroup) &&
			(group == 0 || bytes+entries[group].size() <= link.MaxGroupBytes); group++ {
			e := entries[group]
			bytes += e.size()
			key := b.link.Keys.RecordOf(e.tenant.Name, e.fingerprint)
			ops = append(ops, scripts.Restore(key, record.Append(nil, e.record)).In(e.tenant.class(b)))
		}
		replies, _, err := b.link.Batch(ops)
		if err != nil {
			return false
		}
		done := true
		for i, reply := range replies {
			switch reply.InAnyEpoch().Verdict {
			case scripts.Stored, scripts.Restored:
				b.journal.confirm(entries[i], epoch)
			case scripts.Error: // Redis refused to write
				done = false
			default: // overtaken, expired, or foreign by now
				b.journal.drop(entries[i].fingerprint, entries[i].record.Token)
			}
		}
		if !done || !b.renew(b.gate.options.LockTTL/3) {
			return false
		}
		entries = entries[group:]
	}
	return b.link.Current(epoch)
}
