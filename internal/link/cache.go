package link

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/record"
)

// ErrBusy says that there are so many looks into the cache under way that Redis seems not to answer.
var ErrBusy = errors.New("too many looks into the cache are under way")

// Get reads a record through the client-side cache, and makes this connection track it. hit: there was no round trip.
// The record's result is the cache's own memory and must not be changed. The cache may lag behind Redis by
// milliseconds: believe nothing in it but an outcome, and that only while CacheTrusted.
func (l *Link) Get(key string) (f Fact[record.Record], hit bool, err error) {
	f = Fact[record.Record]{epoch: l.Epoch(), link: l}
	ctx, cancel := context.WithTimeout(context.Background(), l.RedisTimeout)
	defer cancel()
	// A static TTL saves the PTTL that rueidis would send too; the record itself says when it ends.
	get := l.Client.B().Get().Key(key).Cache().ToStaticTTL()
	reply := l.Client.DoCache(ctx, get, l.Class.TTL)
	value, err := reply.AsBytes()
	if err == nil {
		f.value, err = record.Parse(value)
	}
	return f, reply.IsCacheHit(), err
}

// Track makes this connection track a key that holds no record. hit: it was tracked already.
func (l *Link) Track(key string) (hit bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.RedisTimeout)
	defer cancel()
	reply := l.Client.DoCache(ctx, l.Client.B().Get().Key(key).Cache().ToStaticTTL(), time.Hour)
	if err = reply.Error(); rueidis.IsRedisNil(err) { // a missing key is tracked as well
		err = nil
	}
	return reply.IsCacheHit(), err
}

// Look is Get for a record that is likely to be in the cache. It returns ErrBusy rather than wait behind too many
// others.
func (l *Link) Look(key string) (f Fact[record.Record], hit bool, err error) {
	defer l.Slots.looks.Add(-1)
	if l.Slots.looks.Add(1) > maxInFlight { // most looks are answered at once: so many wait only if Redis does not answer
		return f, false, ErrBusy
	}
	return l.Get(key)
}
