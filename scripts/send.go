package scripts

import (
	"context"
	"crypto/sha1"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// script is sent by its SHA-1; where Redis does not know it (a restart, a promotion, SCRIPT FLUSH), by its text.
var (
	script = rueidis.NewLuaScript(source)
	sha    = fmt.Sprintf("%x", sha1.Sum([]byte(source))) // Redis' name for it
)

// send returns the script's reply and how many replicas have what it wrote, as many as were asked for where none were.
func (c *Call) send(ctx context.Context, client rueidis.Client) (rueidis.RedisMessage, int, error) {
	if c.Acks == 0 || len(c.Ops) == 0 && c.Flush.Number == 0 {
		message, err := script.Exec(ctx, client, c.keys, c.args).ToMessage()
		return message, c.Acks, err
	}
	// WAIT tells of what its own connection wrote. So all goes over one that is taken out of the pool, and writes
	// something behind the script: then what the script only found is acknowledged too, whichever connection had written
	// it.
	do := client.DoMulti
	if client.Mode() == rueidis.ClientModeCluster { // one that follows no redirection, which would part the three
		connection, release := client.Dedicate()
		defer func() { go release() }() // which says goodbye to Redis, and waits for its answer
		do = connection.DoMulti
	}
	b := client.B()
	run := func(run rueidis.Completed) []rueidis.RedisResult {
		mark := b.Set().Key(c.Flushed + ":acks").Value("1").Px(24 * time.Hour).Build()
		wait := b.Wait().Numreplicas(int64(c.Acks)).Timeout(max((c.Timeout / 3).Milliseconds(), 1)).Build()
		return do(ctx, run, mark, wait.SetSlot(c.keys[0]))
	}
	count := int64(len(c.keys))
	replies := run(b.Evalsha().Sha1(sha).Numkeys(count).Key(c.keys...).Arg(c.args...).Build())
	if said, ok := rueidis.IsRedisErr(replies[0].Error()); ok && said.IsNoScript() {
		replies = run(b.Eval().Script(source).Numkeys(count).Key(c.keys...).Arg(c.args...).Build())
	}
	message, err := replies[0].ToMessage()
	if err != nil {
		return message, 0, err
	}
	if replies[1].Error() != nil { // a Redis that takes no writes: the script has said so
		return message, 0, nil
	}
	acked, err := replies[2].AsInt64()
	if err != nil {
		return message, 0, fmt.Errorf("waiting for %d replicas: %w", c.Acks, err)
	}
	return message, int(acked), nil
}

// short takes back what was claimed, stored, found or forgotten: it may be lost with this Redis.
func (r *Reply) short(acked, want int) {
	r.Short = true
	for i := range r.Answers {
		switch a := &r.Answers[i]; a.Verdict {
		case Claimed, Stored, Restored, Done, Forgotten, Resolved, Poisoned, Doubtful:
			*a = Answer{Verdict: Error, Text: fmt.Sprintf("%d of %d replicas have it", acked, want)}
		}
	}
}
