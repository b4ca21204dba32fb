package command

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// Deployment is the Redis of a gateway, with those settings of the gateway that the commands need.
type Deployment struct {
	Client rueidis.Client
	Keys   redis.Keys
	Tenant string // the tenant whose webhooks are meant; "": webhooks of no tenant

	MaxAttempts int
	StopInDoubt bool // IN_DOUBT=stop
	Asks        bool // UPSTREAM_STATUS_URL is set: an attempt in doubt asks the backend first

	Settle, LockTTL, ResultTTL, RejectedTTL, DoubtTTL time.Duration

	Seal *seal.Keys // seals the result that a person gives; nil: it is stored unsealed

	KeepTrail    int // TRAIL: a person's commands write to the trail too; 0: there is none
	ReplicasAck  int
	RedisTimeout time.Duration
}

// key returns the key of a record.
func (d Deployment) key(f fingerprint.Fingerprint) string { return d.Keys.RecordOf(d.Tenant, f) }

// countersOf returns the prefix of the names of a tenant's counters.
func countersOf(tenant string) string {
	if tenant == "" {
		return ""
	}
	return tenant + "/"
}

// NewDeployment returns the deployment of a gateway with a tenant's settings; without tenants, they are the gateway's
// own.
func NewDeployment(of *config.Tenant, c *config.Config, store *redis.Store) Deployment {
	e := of.Execution
	d := Deployment{
		Client: store.Client, Keys: store.Keys, Tenant: of.Name,
		MaxAttempts: e.MaxAttempts, StopInDoubt: e.InDoubt == config.InDoubtStop, Asks: of.Upstream.StatusURL != "",
		Settle: e.Settle, LockTTL: e.LockTTL, ResultTTL: e.ResultTTL, RejectedTTL: e.RejectedTTL, DoubtTTL: e.DoubtTTL,
		KeepTrail: c.Trail.Keep, ReplicasAck: c.Redis.ReplicasAck, RedisTimeout: c.Redis.Timeout,
	}
	if store.Embedded {
		d.Settle = 0 // an embedded store has one process, and so one history
	}
	return d
}

// known returns ErrNoDeployment if no gateway has ever counted anything under this prefix. Otherwise a wrong KEY_PREFIX
// would look like an empty Redis.
func (d Deployment) known(ctx context.Context) error {
	metrics, err := redis.Metrics(ctx, d.Client, d.Keys)
	if err == nil && len(metrics) == 0 {
		err = noDeployment(d.Keys)
	}
	return err
}

// notFound returns the error for a webhook without a record, or for a deployment that does not exist.
func (d Deployment) notFound(ctx context.Context, w Webhook) error {
	if err := d.known(ctx); err != nil {
		return fmt.Errorf("%w of %v: %w", ErrNotFound, w, err)
	}
	return fmt.Errorf("%w of %v: it never came, was turned away before an execution began, or its time is over",
		ErrNotFound, w)
}

// do runs an operation of the script on a webhook's record, and others after it. While Redis settles it says so and
// waits, until ctx ends. After an error it is unknown whether the operation was done; repeating it does no harm.
func (d Deployment) do(
	ctx context.Context, f fingerprint.Fingerprint, out io.Writer, op scripts.Op, behind ...scripts.Op,
) (scripts.Answer, error) {
	bucket := d.Keys.Of(f)
	call := scripts.Call{
		Metrics: bucket.Metrics(), Flushed: bucket.Flush("command"), // a command never flushes counters
		Settle: d.Settle, Lease: d.LockTTL,
		Classes: []scripts.Class{{
			TTL: d.ResultTTL, RejectedTTL: d.RejectedTTL, DoubtTTL: d.DoubtTTL, MaxAttempts: d.MaxAttempts,
			StopInDoubt: d.StopInDoubt, Counters: countersOf(d.Tenant),
		}},
		Acks: d.ReplicasAck, Timeout: d.RedisTimeout, Ops: append([]scripts.Op{op}, behind...),
		Trail: scripts.Trail{Stream: bucket.Trail(), Keep: d.Keys.Share(d.KeepTrail)},
	}
	for {
		reply, err := call.Run(ctx, d.Client)
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
