package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
)

// finding is the content of a webhook's key. Only the size of a result is read, not the result.
type finding struct {
	kind   string        // Redis' name for the type of the value
	record record.Record // without the result's body
	err    error         // why the value is not a record; nil: it is one
	size   int64         // bytes of the whole value, if it is a string
	body   int64         // bytes of the result
	ttl    time.Duration
	now    time.Time // by Redis' clock
}

// The replies of PTTL if there is no time to return.
const (
	endless = -1 * time.Millisecond // the key has no TTL
	gone    = -2 * time.Millisecond // the key does not exist
)

// longestHead is how many bytes of a value hold the line of any record.
const longestHead = 4096

// look reads the content of a webhook's key. If the key does not exist, the error is ErrNotFound.
func (d Deployment) look(ctx context.Context, w Webhook) (f finding, err error) {
	key := d.key(w.fingerprint())
	defer func() {
		if err != nil && !errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("record at %s: %w", key, err)
		}
	}()
	b := d.Client.B()
	clock := b.Time().Build()
	replies := d.Client.DoMulti(ctx, b.Type().Key(key).Build(),
		b.Getrange().Key(key).Start(0).End(longestHead-1).Build(),
		b.Strlen().Key(key).Build(), b.Pttl().Key(key).Build(), clock.SetSlot(key)) // all from the server that holds the key
	if f.kind, err = replies[0].ToString(); err != nil {
		return f, err
	}
	if f.kind == "none" {
		return f, d.notFound(ctx, w)
	}
	head, err := replies[1].AsBytes()
	if err != nil && !redis.WrongType(err) {
		return f, err
	}
	if f.size, err = replies[2].AsInt64(); err != nil && !redis.WrongType(err) {
		return f, err
	}
	ttl, err := replies[3].AsInt64()
	if err != nil {
		return f, err
	}
	f.ttl = time.Duration(ttl) * time.Millisecond
	f.record, f.err = record.Parse(head)
	f.body = f.size - int64(len(head)-len(f.record.Result.Body))
	f.record.Result.Body = nil
	f.now, err = redis.Clock(replies[4])
	return f, err
}
