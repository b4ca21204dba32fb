package gate

import (
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// heal puts back what this replica knows and Redis may have forgotten: first the records of its running executions, then
// the journal. Waiting flights look again, since the record that they wait for may be gone. It is repeated until Redis has
// answered for all.
//
// A Redis that tells the history under which all of the journal stood there has lost nothing since: it was only the
// connection that was lost.
func (b *bucket) heal() (healed bool) {
	signals := b.signals.raised.Load()
	b.flights.rouseAll()
	if !b.renew(0) {
		return false
	}
	reply, err := b.call(nil)
	if err != nil {
		return false
	}
	if reply.History == b.intact && b.intact != (scripts.History{}) {
		b.journal.allStand(signals)
	} else if !b.putBack(signals) {
		return false
	}
	b.intact = reply.History
	return b.believed(signals)
}

// putBack restores what the journal has and Redis is not known to have since so many signals, the newest entry first. What
// Redis has answered for is not asked again before the next signal.
func (b *bucket) putBack(signals uint64) (done bool) {
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
		done := true
		for i, answer := range reply.Answers {
			switch answer.Verdict {
			case scripts.Stored, scripts.Restored:
				b.journal.stands(entries[i], signals)
			case scripts.Error: // Redis refused to write
				done = false
			default: // overtaken, expired, or not ours any more
				b.journal.drop(entries[i].fingerprint, entries[i].record.Token)
			}
		}
		if !done || !b.renew(b.LockTTL/3) {
			return false
		}
		entries = entries[group:]
	}
	return b.believed(signals)
}
