package gate

import (
	"errors"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

func (b *bucket) replay(t *Tenant, f fingerprint.Fingerprint, digest record.Digest) (a Answer, ok bool) {
	r, hit, ok := b.lookup(t, f)
	if !ok {
		return a, false
	}
	b.gate.hot.Hit(b.gate.replayCache.hit(f))
	if hit {
		b.count(t, link.ReplayedLocal)
	} else {
		b.count(t, link.Replayed)
	}
	return b.answer(t, f, Replayed, &r, !t.sameBody(r.Digest, digest)), true
}

func (b *bucket) find(t *Tenant, f fingerprint.Fingerprint) Answer {
	if r, _, ok := b.lookup(t, f); ok {
		return b.answer(t, f, Replayed, &r, false)
	}
	key := b.link.Keys.RecordOf(t.Name, f)
	reply := b.link.Do(scripts.Look(key, scripts.Question{Asks: t.Asks}).In(t.class(b)))
	found, current := reply.Now()
	if reply.Err != nil || !current {
		return Answer{Outcome: Unavailable}
	}
	switch found.Verdict {
	case scripts.Done, scripts.Poisoned, scripts.Doubtful:
		return b.found(t, f, key, reply)
	case scripts.InProgress:
		return Answer{Outcome: Processing}
	case scripts.Free:
		if found.Before == "nothing" || found.Before == reasonForgotten {
			return Answer{Outcome: Missing}
		}
		if found.Before == reasonUnasked && t.StopInDoubt {
			return Answer{Outcome: Doubtful}
		}
		return Answer{Outcome: Failed}
	case scripts.Foreign:
		return Answer{Outcome: Foreign}
	}
	return Answer{Outcome: Unavailable} // it settles, or refuses
}

// found is the answer of a record that a look has found. A verdict is told only once it can be put back.
func (b *bucket) found(t *Tenant, f fingerprint.Fingerprint, key string, reply link.Reply) Answer {
	whole := b.link.Whole(key, &reply)
	fact, bad := recordIn(reply.Fact)
	r, current := fact.After(func(r record.Record, e link.Epoch) {
		if r.Verdict != record.NoVerdict {
			b.journal.add(t, f, &r, e)
		}
	})
	switch {
	case !whole || !current:
		return Answer{Outcome: Unavailable}
	case bad != nil:
		return Answer{Outcome: Foreign}
	case r.Verdict != record.NoVerdict:
		return Answer{Outcome: outcomeOf(r.Verdict), Attempt: r.Attempt}
	}
	opened, err := b.open(t, f, r)
	if err != nil {
		return Answer{Outcome: unopenedAs(err), Attempt: r.Attempt}
	}
	return b.answer(t, f, Replayed, &opened, false)
}

// lookup finds a done record without asking the script: among those that were replayed here lately, else through the
// client-side cache. hit: there was no round trip.
func (b *bucket) lookup(t *Tenant, f fingerprint.Fingerprint) (r record.Record, hit, ok bool) {
	cache := &b.gate.replayCache
	if !b.gate.tracking || !b.link.CacheTrusted() {
		return r, false, false
	}
	if kept := cache.record(t.Name, f, b.link.Epoch(), b.forgets.mark()); kept != nil {
		return *kept, true, b.link.Now().Before(kept.Ends)
	}
	if !cache.has(f) {
		return r, false, false
	}
	changes := cache.changes(f)
	fact, hit, err := b.link.Look(b.link.Keys.RecordOf(t.Name, f))
	if errors.Is(err, record.ErrForeign) {
		cache.forget(f) // it may be large: the script looks at it without sending it
	}
	if err != nil {
		return r, false, false
	}
	var opened record.Record
	r, ok = fact.After(func(r record.Record, e link.Epoch) {
		if !r.HasResult() {
			return
		}
		if opened, err = b.open(t, f, r); err == nil && !hit {
			b.journal.add(t, f, &r, e)
		}
	})
	if !ok || err != nil || !b.link.CacheTrusted() || !r.HasResult() || !b.link.Now().Before(r.Ends) {
		return record.Record{}, false, false
	}
	cache.keep(t.Name, f, &opened, fact.Epoch(), changes)
	return opened, hit, true
}
