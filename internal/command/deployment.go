package command

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// Deployment is the Redis of a gateway, and what the commands must know of the gateway's settings.
type Deployment struct {
	Client rueidis.Client
	Keys   redis.Keys

	MaxAttempts int
	StopInDoubt bool // IN_DOUBT=stop
	Asks        bool // UPSTREAM_STATUS_URL: an attempt in doubt asks the backend before it acts

	Settle, LockTTL, ResultTTL, RejectedTTL, DoubtTTL time.Duration

	Seal *seal.Keys // seal what a person resolves; nil: it stands in Redis as it is

	ReplicasAck  int
	RedisTimeout time.Duration
}

// known returns ErrNoDeployment where no gateway has counted anything, so that nobody takes another prefix's silence
// for an answer.
func (d Deployment) known(ctx context.Context) error {
	metrics, err := redis.Metrics(ctx, d.Client, d.Keys)
	if err == nil && len(metrics) == 0 {
		err = noDeployment(d.Keys)
	}
	return err
}

// notFound says that a webhook has no record, or that the whole deployment is another one.
func (d Deployment) notFound(ctx context.Context, w Webhook) error {
	if err := d.known(ctx); err != nil {
		return fmt.Errorf("%w of %v: %w", ErrNotFound, w, err)
	}
	return fmt.Errorf("%w of %v: it never came, or its time is over", ErrNotFound, w)
}

// do has the script do one operation on a webhook's record. While Redis settles it says so and waits, until ctx ends.
// After an error the operation may be done or not, and to ask again does no harm.
func (d Deployment) do(
	ctx context.Context, f fingerprint.Fingerprint, op scripts.Op, out io.Writer,
) (scripts.Answer, error) {
	bucket := d.Keys.Of(f)
	call := scripts.Call{
		Metrics: bucket.Metrics(), Flushed: bucket.Flush("command"), // where nothing is ever flushed
		Settle: d.Settle, Lease: d.LockTTL, TTL: d.ResultTTL, DoubtTTL: d.DoubtTTL, StopInDoubt: d.StopInDoubt,
		MaxAttempts: d.MaxAttempts, Acks: d.ReplicasAck, Timeout: d.RedisTimeout, Ops: []scripts.Op{op},
	}
	for {
		reply, err := scripts.Run(ctx, d.Client, call)
		if err != nil {
			return scripts.Answer{}, err
		}
		answer := reply.Answers[0]
		if answer.Verdict != scripts.Settling {
			return answer, nil
		}
		_, _ = fmt.Fprintf(out, "Redis was started, restarted or failed over: "+
			"waiting %s, until the replicas have put back what it lost.\n", length(answer.Left))
		if err := sleep.For(ctx, answer.Left); err != nil {
			return scripts.Answer{}, fmt.Errorf("not done, redis is settling: %w", err)
		}
	}
}
