package gate

import (
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// heal puts back what this replica knows and Redis may have forgotten: first the records of its running executions, then
// the journal, the newest entry first. Waiting flights look again, since the record that they wait for may be gone. It is
// repeated until Redis has answered for all; what it has answered for is not asked again before the next signal.
func (b *bucket) heal() (healed bool) {
	signals := b.signals.raised.Load()
	b.flights.rouseAll()
	return b.renew(0) && b.putBack(signals)
}

// putBack restores what the journal has and Redis is not known to have since so many signals.
func (b *bucket) putBack(signals uint64) (healed bool) {
	for entries := b.journal.behind(signals); len(entries) > 0; {
		if !b.believed(signals) {
			return false // it begins anew
		}
		group := 0
		var ops []scripts.Op
		for bytes := 0; group < min(len(entries), maxGroup) && (group == 0 || bytes+entries[group].size() <= maxGroupBytes); group++ {
			e := entries[group]
			bytes += e.size()
			ops = append(ops, scripts.Restore(b.keys.Record(e.fingerprint), record.Append(nil, e.record)))
		}
		reply, err := b.call(ops)
		if err != nil {
			return false
		}
		healed := true
		for i, answer := range reply.Answers {
			switch answer.Verdict {
			case scripts.Stored, scripts.Restored:
				b.journal.stands(entries[i], signals)
			case scripts.Error: // Redis refused to write
				healed = false
			default: // overtaken, expired, or not ours any more
				b.journal.drop(entries[i].fingerprint, entries[i].record.Token)
			}
		}
		if !healed || !b.renew(b.LockTTL/3) {
			return false
		}
		entries = entries[group:]
	}
	return b.believed(signals)
}
