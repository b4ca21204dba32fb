package scripts

import (
	"context"
	"crypto/sha1"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// The script is sent by its SHA-1 and, if Redis does not know it (after a restart, a promotion, SCRIPT FLUSH), by its
// text.
var (
	script = rueidis.NewLuaScript(source)
	sha    = fmt.Sprintf("%x", sha1.Sum([]byte(source))) // Redis' name for it
)

// send returns the script's reply and how many Redis replicas acknowledged its writes. If no acknowledgement was asked
// for, that number is call.Acks.
func (c *Call) send(ctx context.Context, client rueidis.Client) (rueidis.RedisMessage, int, error) {
	if c.Acks == 0 || len(c.Ops) == 0 && c.Flush.Number == 0 {
		message, err := script.Exec(ctx, client, c.keys, c.args).ToMessage()
		return message, c.Acks, err
	}
	// WAIT covers only the writes of its own connection. So the whole call goes over one connection that is taken out of
	// the pool, and writes a key behind the script: then the replicas also have what the script only found, whichever
	// connection had written it.
	do := client.DoMulti
	if client.Mode() == rueidis.ClientModeCluster { // it follows no redirection, which would part the three
		connection, release := client.Dedicate()
		defer func() { go release() }() // releasing says goodbye to Redis, and waits for its answer
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
	if replies[1].Error() != nil { // Redis takes no writes: the script has said so
		return message, 0, nil
	}
	acked, err := replies[2].AsInt64()
	if err != nil {
		return message, 0, fmt.Errorf("waiting for %d replicas: %w", c.Acks, err)
	}
	return message, int(acked), nil
}

// short turns answers that claimed, stored, found or forgot something into errors: their writes may be lost with this
// Redis.
func (r *Reply) short(acked, want int) {
	r.Short = true
	for i := range r.Answers {
		switch a := &r.Answers[i]; a.Verdict {
		case Claimed, Stored, Restored, Done, Forgotten, Resolved, Poisoned, Doubtful:
			*a = Answer{Verdict: Error, Text: fmt.Sprintf("%d of %d replicas have it", acked, want)}
		}
	}
}
