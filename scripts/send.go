package scripts

import (
	"context"
	"crypto/sha1"
	"fmt"

	"github.com/redis/rueidis"
)

// script is sent by its SHA-1; where Redis does not know it (a restart, a promotion, SCRIPT FLUSH), by its text.
var (
	script = rueidis.NewLuaScript(source)
	sha    = fmt.Sprintf("%x", sha1.Sum([]byte(source))) // Redis' name for it
)

// send returns the script's reply and how many replicas have what it wrote, as many as were asked for where none were.
func send(ctx context.Context, client rueidis.Client, call Call, keys, args []string) (rueidis.RedisMessage, int, error) {
	if call.Acks == 0 || len(call.Ops) == 0 && call.Flush.Number == 0 {
		message, err := script.Exec(ctx, client, keys, args).ToMessage()
		return message, call.Acks, err
	}
	// WAIT tells of what its own connection wrote. A connection taken out also follows no redirection, which would part
	// the two.
	connection, release := client.Dedicate()
	defer release()
	b := connection.B()
	do := func(run rueidis.Completed) []rueidis.RedisResult {
		wait := b.Wait().Numreplicas(int64(call.Acks)).Timeout(call.AckWithin.Milliseconds()).Build()
		return connection.DoMulti(ctx, run, wait.SetSlot(keys[0]))
	}
	count := int64(len(keys))
	replies := do(b.Evalsha().Sha1(sha).Numkeys(count).Key(keys...).Arg(args...).Build())
	if said, ok := rueidis.IsRedisErr(replies[0].Error()); ok && said.IsNoScript() {
		replies = do(b.Eval().Script(source).Numkeys(count).Key(keys...).Arg(args...).Build())
	}
	message, err := replies[0].ToMessage()
	if err != nil {
		return message, 0, err
	}
	acked, err := replies[1].AsInt64()
	if err != nil {
		return message, 0, fmt.Errorf("waiting for %d replicas: %w", call.Acks, err)
	}
	return message, int(acked), nil
}

// short takes back what was claimed or stored: it may be lost with this Redis.
func (r *Reply) short(acked, want int) {
	r.Short = true
	for i := range r.Answers {
		switch a := &r.Answers[i]; a.Verdict {
		case Claimed, Stored, Restored:
			*a = Answer{Verdict: Error, Text: fmt.Sprintf("%d of %d replicas have it", acked, want)}
		}
	}
}
