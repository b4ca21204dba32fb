package gate

import (
	"errors"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

func (b *bucket) replay(w *Request) (a Answer, ok bool) {
	t := w.Tenant
	k, hit := b.lookup(w, w.Arrived)
	if k == nil {
		return a, false
	}
	b.gate.hot.Hit(&k.hot)
	if b.gate.options.Trail > 0 {
		b.gate.replayCache.slot(w.Fingerprint).untold.Add(1)
	}
	if hit {
		b.count(t, link.ReplayedLocal)
	} else {
		b.count(t, link.Replayed)
	}
	return b.answer(w, Replayed, &k.record, !t.sameBody(k.record.Digest, w.Digest), w.Arrived), true
}

// find returns what became of a webhook. The request names only its tenant and its fingerprint.
func (b *bucket) find(w *Request) Answer {
	if k, _ := b.lookup(w, time.Now()); k != nil {
		return b.answer(w, Replayed, &k.record, false, time.Now())
	}
	t := w.Tenant
	key := b.link.Keys.RecordOf(t.Name, w.Fingerprint)
	reply := b.link.Do(scripts.Look(key, scripts.Question{Asks: t.Asks}).In(t.class(b)))
	found, current := reply.Now()
	if reply.Err != nil || !current {
		return Answer{Outcome: Unavailable}
	}
	switch found.Verdict {
	case scripts.Done, scripts.Poisoned, scripts.Doubtful:
		return b.found(w, key, reply)
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
	return Answer{Outcome: Unavailable} // Redis settles, or refuses
}

// found makes the answer of the record that a look has found. A verdict is told only once the journal can put it back.
func (b *bucket) found(w *Request, key string, reply link.Reply) Answer {
	whole := b.link.Whole(key, &reply)
	fact, bad := recordIn(reply.Fact)
	r, current := fact.After(func(r record.Record, e link.Epoch) {
		if r.Verdict != record.NoVerdict {
			b.journal.add(w.Tenant, w.Fingerprint, &r, e)
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
	opened, err := b.open(w, r)
	if err != nil {
		return Answer{Outcome: unopenedAs(err), Attempt: r.Attempt}
	}
	return b.answer(w, Replayed, &opened, false, time.Now())
}

// lookup finds a done record without asking the script: among the records that were replayed here lately, otherwise
// through the client-side cache. It returns nil if neither has it. hit: there was no round trip.
func (b *bucket) lookup(w *Request, now time.Time) (k *cachedRecord, hit bool) {
	t, f := w.Tenant, w.Fingerprint
	cache := &b.gate.replayCache
	if !b.gate.tracking || !b.link.CacheTrusted() {
		return nil, false
	}
	if k = cache.record(t.Name, f, b.link.Epoch(), b.forgets.mark(), now); k != nil {
		if !b.link.At(now).Before(k.record.Ends) {
			return nil, false
		}
		return k, true
	}
	if !cache.has(f) {
		return nil, false
	}
	changes := cache.changes(f)
	fact, hit, err := b.link.Look(b.link.Keys.RecordOf(t.Name, f))
	if errors.Is(err, record.ErrForeign) {
		cache.forget(f) // it may be large: the script looks at it without sending it
	}
	if err != nil {
		return nil, false
	}
	var opened record.Record
	r, ok := fact.After(func(r record.Record, e link.Epoch) {
		if !r.HasResult() {
			return
		}
		if opened, err = b.open(w, r); err == nil && !hit {
			b.journal.add(t, f, &r, e)
		}
	})
	if !ok || err != nil || !b.link.CacheTrusted() || !r.HasResult() || !b.link.Now().Before(r.Ends) {
		return nil, false
	}
	return cache.keep(t.Name, f, &opened, fact.Epoch(), changes), hit
}
