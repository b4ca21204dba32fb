package command

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
)

// Head is what is told of a record in a list.
type Head struct {
	State   string // in words; "" where Redis does not tell
	Attempt int64  // 0: there is none
}

// Heads tells of many records at once. What Redis does not tell is left empty.
func (d Deployment) Heads(ctx context.Context, of []fingerprint.Fingerprint) []Head {
	heads := make([]Head, len(of))
	if len(of) == 0 {
		return heads
	}
	commands := make(rueidis.Commands, 0, len(of)+1)
	for _, f := range of {
		commands = append(commands, d.Client.B().Getrange().Key(d.key(f)).Start(0).End(shortHead-1).Build())
	}
	replies := d.Client.DoMulti(ctx, append(commands, d.Client.B().Time().Build())...)
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
