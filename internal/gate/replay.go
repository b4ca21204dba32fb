package gate

import (
	"context"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// Replay answers a duplicate whose result this replica has seen lately, from the client-side cache: no round trip where
// it is there. ok is false where only Do can tell. Of the cache one thing is believed: a done record, while no signal
// of a loss is open.
func (g *Gate) Replay(f fingerprint.Fingerprint, digest record.Digest) (a Answer, ok bool) {
	r, hit, ok := g.lookup(f)
	if !ok {
		return a, false
	}
	if hit {
		g.counters.add(replayedLocal)
	} else {
		g.counters.add(replayed)
	}
	return g.answer(Replayed, &r, r.Digest != digest), true
}

// Find tells what has become of a fingerprint: Replayed, Processing, Failed (also where its execution was cut off),
// Missing, Unavailable or Foreign. It claims nothing and counts nothing.
func (g *Gate) Find(f fingerprint.Fingerprint) Answer {
	if r, _, ok := g.lookup(f); ok {
		return g.answer(Replayed, &r, false)
	}
	signals := g.signals.raised.Load()
	t := g.commit(scripts.Look(g.Keys.Record(f), false))
	if t.err != nil || !g.believed(signals) {
		return Answer{Outcome: Unavailable}
	}
	switch found := t.answer; found.Verdict {
	case scripts.Done:
		if len(found.Record) == 0 && !g.fetch(g.Keys.Record(f), &found) {
			return Answer{Outcome: Unavailable}
		}
		r, err := record.Parse(found.Record)
		if err != nil {
			return Answer{Outcome: Foreign}
		}
		return g.answer(Replayed, &r, false)
	case scripts.InProgress:
		return Answer{Outcome: Processing}
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
func (g *Gate) lookup(f fingerprint.Fingerprint) (r record.Record, hit, ok bool) {
	if !g.tracking || g.signals.open() {
		return r, false, false
	}
	sent := g.signals.raised.Load()
	if kept := g.seen.record(f, sent); kept != nil {
		return *kept, true, g.redisNow().Before(kept.Ends)
	}
	if !g.seen.has(f) {
		return r, false, false
	}
	if g.looks.Add(1) > maxInFlight { // most are answered at once: so many wait for a Redis that does not answer
		g.looks.Add(-1)
		return r, false, false
	}
	defer g.looks.Add(-1)
	changes := g.seen.changes(f)
	value, hit, err := g.cached(g.Keys.Record(f))
	if err != nil {
		return r, false, false
	}
	r, err = record.Parse(value)
	if err != nil || r.State != record.Done || !g.redisNow().Before(r.Ends) {
		return r, false, false
	}
	if g.signals.open() || !g.believed(sent) {
		return r, false, false
	}
	g.seen.keep(f, r, sent, changes)
	return r, hit, true
}

// cached reads a record through the client-side cache, which it makes this connection track. The value is the cache's
// own memory: it must not be changed. hit: there was no round trip.
func (g *Gate) cached(key string) (value []byte, hit bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), g.RedisTimeout)
	defer cancel()
	// A static TTL spares the PTTL that would go with it; a record's end stands in the record.
	get := g.client.B().Get().Key(key).Cache().ToStaticTTL()
	reply := g.client.DoCache(ctx, get, g.ResultTTL)
	value, err = reply.AsBytes()
	return value, reply.IsCacheHit(), err
}
