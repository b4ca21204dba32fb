package command

import (
	"context"
	"slices"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
)

// Head is the part of a record that a list shows.
type Head struct {
	State   string // in words; "" if Redis does not answer
	Attempt int64  // 0: there is none
}

// Owned is a tenant's webhook; Tenant is "" for a webhook of no tenant.
type Owned struct {
	Tenant      string
	Fingerprint fingerprint.Fingerprint
}

// OwnerOf returns the index of the tenant that has a record of a webhook; -1 if none has one, or if Redis does not
// answer.
func OwnerOf(ctx context.Context, in *redis.Store, f fingerprint.Fingerprint, tenants []string) int {
	if len(tenants) == 0 {
		return -1
	}
	asks := make(rueidis.Commands, 0, len(tenants))
	for _, name := range tenants {
		asks = append(asks, in.Client.B().Exists().Key(in.Keys.RecordOf(name, f)).Build())
	}
	return slices.IndexFunc(in.Client.DoMulti(ctx, asks...), func(reply rueidis.RedisResult) bool {
		there, err := reply.AsBool()
		return err == nil && there
	})
}

// Heads reads the heads of many records at once. If Redis does not answer for a record, its head is empty.
func Heads(ctx context.Context, in *redis.Store, of []Owned) []Head {
	heads := make([]Head, len(of))
	if len(of) == 0 {
		return heads
	}
	commands := make(rueidis.Commands, 0, len(of)+1)
	for _, w := range of {
		key := in.Keys.RecordOf(w.Tenant, w.Fingerprint)
		commands = append(commands, in.Client.B().Getrange().Key(key).Start(0).End(shortHead-1).Build())
	}
	replies := in.Client.DoMulti(ctx, append(commands, in.Client.B().Time().Build())...)
	now, err := redis.Clock(replies[len(of)])
	if err != nil {
		return heads
	}
	for i := range of {
		text, err := replies[i].AsBytes()
		switch {
		case err != nil && !redis.WrongType(err):
			continue
		case err == nil && len(text) == 0:
			heads[i].State = "not in Redis"
			continue
		}
		heads[i].State = "another program's value"
		if r, err := record.Parse(text); err == nil {
			heads[i] = Head{state(&r, now), r.Attempt}
		}
	}
	return heads
}
