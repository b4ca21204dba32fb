package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// ErrRunning says that a webhook is being executed, and was not forgotten, for want of force.
var ErrRunning = errors.New("it is being executed")

const (
	whatForceMeans = "--force forgets it all the same: this execution may finish its work, but its result is dropped, " +
		"its callers are told to ask again, and the next webhook executes"
	wasForced = "An execution that was running may finish its work, but its result is dropped.\n"
)

// Gateway is what forget must know of the gateway's settings.
type Gateway struct {
	Settle, LockTTL, ResultTTL time.Duration

	ReplicasAck  int
	RedisTimeout time.Duration
}

// Forget makes the next webhook of this identity execute again, on every replica; force, also where one is being
// executed. While Redis settles it waits, until ctx ends.
//
// Errors: ErrNotFound, ErrRunning, record.ErrForeign where another program's value stands at the key, which is left as
// it is. After another error the webhook may be forgotten or not; to ask again does no harm.
func Forget(ctx context.Context, client rueidis.Client, keys redis.Keys, w Webhook, force bool, of Gateway, out io.Writer) error {
	bucket := keys.Of(w.fingerprint())
	call := scripts.Call{
		Metrics: bucket.Metrics(), Flushed: bucket.Flush("command"), // where nothing is ever flushed
		Settle: of.Settle, Lease: of.LockTTL, TTL: of.ResultTTL, Acks: of.ReplicasAck, Timeout: of.RedisTimeout,
		Ops: []scripts.Op{scripts.Forget(bucket.Record(w.fingerprint()), force)},
	}
	for {
		reply, err := scripts.Run(ctx, client, call)
		if err != nil {
			return fmt.Errorf("forgetting %v: %w", w, err)
		}
		answer := reply.Answers[0]
		if answer.Verdict != scripts.Settling {
			return report(w, answer, force, out)
		}
		_, _ = fmt.Fprintf(out, "Redis was started, restarted or failed over: waiting %s, until the replicas have put back what it lost.\n",
			length(answer.Left))
		if err := sleep.For(ctx, answer.Left); err != nil {
			return fmt.Errorf("forgetting %v: not done, redis is settling: %w", w, err)
		}
	}
}

// report words a verdict.
func report(w Webhook, answer scripts.Answer, force bool, out io.Writer) error {
	switch answer.Verdict {
	case scripts.Forgotten:
		text := fmt.Sprintf("Forgotten: %v (%v).\nThe next such webhook executes again, on whichever replica.\n", w, w.fingerprint())
		if force {
			text += wasForced
		}
		_, err := io.WriteString(out, text)
		return err
	case scripts.Missing:
		return w.notFound()
	case scripts.Running:
		return fmt.Errorf("%v is not forgotten: %w; %s", w, ErrRunning, whatForceMeans)
	case scripts.Foreign:
		return fmt.Errorf("%v is not forgotten: what stands at its key is %w", w, record.ErrForeign)
	case scripts.Error:
		return fmt.Errorf("%v is not forgotten: redis says %s", w, answer.Text)
	default:
		return fmt.Errorf("forgetting %v: the script says %q", w, answer.Verdict)
	}
}
