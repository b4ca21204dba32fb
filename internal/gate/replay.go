package gate

import (
	"context"
	"errors"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

func (b *bucket) replay(f fingerprint.Fingerprint, digest record.Digest) (a Answer, ok bool) {
	r, hit, ok := b.lookup(f)
	if !ok {
		return a, false
	}
	if hit {
		b.counters.add(replayedLocal)
	} else {
		b.counters.add(replayed)
	}
	return b.answer(f, Replayed, &r, !b.sameBody(r.Digest, digest)), true
}

func (b *bucket) find(f fingerprint.Fingerprint) Answer {
	if r, _, ok := b.lookup(f); ok {
		return b.answer(f, Replayed, &r, false)
	}
	signals := b.signals.raised.Load()
	t := b.commit(scripts.Look(b.keys.Record(f), scripts.Question{Asks: b.Asks}))
	if t.err != nil || !b.believed(signals) {
		return Answer{Outcome: Unavailable}
	}
	switch found := t.answer; found.Verdict {
	case scripts.Done:
		if len(found.Record) == 0 && !b.fetch(b.keys.Record(f), &found) {
			return Answer{Outcome: Unavailable}
		}
		r, err := record.Parse(found.Record)
		if err != nil {
			return Answer{Outcome: Foreign}
		}
		if r, err = b.open(f, r); err != nil {
			return Answer{Outcome: unopenedAs(err), Attempt: r.Attempt}
		}
		return b.answer(f, Replayed, &r, false)
	case scripts.InProgress:
		return Answer{Outcome: Processing}
	case scripts.Poisoned, scripts.Doubtful:
		r, err := record.Parse(found.Record)
		if err != nil {
			return Answer{Outcome: Foreign}
		}
		b.journal.add(f, r, signals)
		if !b.believed(signals) {
			return Answer{Outcome: Unavailable}
		}
		return Answer{Outcome: outcomeOf(r.Verdict), Attempt: r.Attempt}
	case scripts.Free:
		if found.Before == "nothing" || found.Before == reasonForgotten {
			return Answer{Outcome: Missing}
		}
		return Answer{Outcome: Failed}
	case scripts.Foreign:
		return Answer{Outcome: Foreign}
	}
	return Answer{Outcome: Unavailable} // it settles, or refuses
}

// lookup finds a done record without asking the script: among those that were replayed here lately, else through the
// client-side cache. hit: there was no round trip.
func (b *bucket) lookup(f fingerprint.Fingerprint) (r record.Record, hit, ok bool) {
	if !b.tracking || b.signals.open() {
		return r, false, false
	}
	sent := b.signals.raised.Load()
	if kept := b.seen.record(f, sent); kept != nil {
		return *kept, true, b.redisNow().Before(kept.Ends)
	}
	if !b.seen.has(f) {
		return r, false, false
	}
	if b.looks.Add(1) > maxInFlight { // most are answered at once: so many wait for a Redis that does not answer
		b.looks.Add(-1)
		return r, false, false
	}
	defer b.looks.Add(-1)
	changes := b.seen.changes(f)
	value, hit, err := b.cached(b.keys.Record(f))
	if err != nil {
		return r, false, false
	}
	r, err = record.Parse(value)
	if errors.Is(err, record.ErrForeign) {
		b.seen.forget(f) // it may be large: the script looks at it without sending it
	}
	if err != nil || !r.HasResult() || !b.redisNow().Before(r.Ends) {
		return r, false, false
	}
	opened, err := b.open(f, r)
	if err != nil {
		return r, false, false
	}
	if !hit {
		b.journal.add(f, r, sent)
	}
	if b.signals.open() || !b.believed(sent) {
		return r, false, false
	}
	b.seen.keep(f, opened, sent, changes)
	return opened, hit, true
}

// cached reads a record through the client-side cache, which it makes this connection track. The value is the cache's
// own memory: it must not be changed. hit: there was no round trip.
func (b *bucket) cached(key string) (value []byte, hit bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.RedisTimeout)
	defer cancel()
	// A static TTL spares the PTTL that would go with it; a record's end stands in the record.
	get := b.client.B().Get().Key(key).Cache().ToStaticTTL()
	reply := b.client.DoCache(ctx, get, b.ResultTTL)
	value, err = reply.AsBytes()
	return value, reply.IsCacheHit(), err
}
