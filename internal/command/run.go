package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/internal/trail"
)

// action is the work of a command other than serve.
type action struct {
	redis bool // it needs the gateway's Redis
	do    func(ctx context.Context, c call) error
}

// call is a parsed command line with everything that a command needs.
type call struct {
	*config.CommandLine
	of      config.Tenant // the tenant whose webhooks the command is about
	gateway Deployment    // set if the action needs Redis
	log     *slog.Logger
	in      io.Reader
	out     io.Writer
}

// actions holds the action of every command but serve, by its name.
var actions = map[string]action{
	"health": {do: func(ctx context.Context, c call) error {
		// /readyz itself waits for Redis; the 2 s are for HTTP.
		return Health(ctx, c.Health.URL, c.HTTP, c.Redis.Timeout+2*time.Second, c.out)
	}},
	"check": {do: func(_ context.Context, c call) error {
		return Check(&c.Config, cmp.Or(c.CommandLine.Check.File, c.File.Path), c.out, c.log)
	}},
	"size": {do: func(_ context.Context, c call) error { return PrintSize(load(c), c.out) }},
	"stats": {redis: true, do: func(ctx context.Context, c call) error {
		return Stats(ctx, c.gateway.Client, c.gateway.Keys, c.gateway.Tenant, c.out, c.Stats.JSON)
	}},
	"inspect": {redis: true, do: func(ctx context.Context, c call) error {
		w, err := c.webhook(c.Inspect.Identity)
		if err != nil {
			return err
		}
		return c.gateway.Inspect(ctx, w, c.out)
	}},
	"trail": {redis: true, do: func(ctx context.Context, c call) error {
		t := c.TrailOf
		query := trail.Query{Tenant: c.of.Name}
		if t.Fingerprint != "" {
			f, err := fingerprint.Parse(t.Fingerprint)
			if err != nil {
				return err
			}
			query.Fingerprint = &f
		}
		query.Name, query.Value, _ = strings.Cut(t.Field, "=")
		if t.Dialog != "" {
			query.Name, query.Value = trail.Dialog, t.Dialog
		}
		return c.gateway.Trail(ctx, TrailOptions{Query: query, Since: t.Since.Before, Follow: t.Follow, JSON: t.JSON}, c.out)
	}},
	"poisoned": {redis: true, do: func(ctx context.Context, c call) error { return c.gateway.Poisoned(ctx, c.out) }},
	"doubtful": {redis: true, do: func(ctx context.Context, c call) error { return c.gateway.Doubtful(ctx, c.out) }},
	"forget": {redis: true, do: func(ctx context.Context, c call) error {
		if c.Forget.Doubtful {
			return c.gateway.ForgetDoubtful(ctx, c.Forget.Before.Before, c.Forget.Yes, c.in, c.out)
		}
		w, err := c.webhook(c.Forget.Identity)
		if err != nil {
			return err
		}
		return c.gateway.Forget(ctx, w, c.Forget.Force, c.out)
	}},
	"resolve": {redis: true, do: func(ctx context.Context, c call) error {
		w, err := c.webhook(config.Identity{Fingerprint: c.Resolve.Fingerprint})
		if err != nil {
			return err
		}
		if c.gateway.Seal, err = seal.Load(c.of.Execution.ResultKeyFile, c.log); err != nil {
			return err
		}
		data, err := Data(c.Resolve.Data, c.in, int(c.of.Execution.MaxResultBytes))
		if err != nil {
			return err
		}
		result := record.Result{Status: c.Resolve.Status, ContentType: c.Resolve.ContentType, Body: data}
		return c.gateway.Resolve(ctx, w, result, c.out)
	}},
}

// Run runs one of the commands other than serve.
func Run(ctx context.Context, line *config.CommandLine, log *slog.Logger, in io.Reader, out io.Writer) error {
	a, known := actions[line.Command]
	if !known {
		return fmt.Errorf("the command %s does nothing", line.Command)
	}
	c := call{CommandLine: line, log: log, in: in, out: out}
	if a.redis {
		if line.Redis.Embedded() {
			return fmt.Errorf("%s needs the gateway's Redis: set REDIS_URL (an embedded store can't be reached from outside)",
				line.Command)
		}
		var err error
		if c.of, err = tenant(line); err != nil {
			return err
		}
		store, err := redis.Open(ctx, line.Redis, nil, log)
		if err != nil {
			return err
		}
		defer store.Close()
		c.gateway = NewDeployment(&c.of, &line.Config, store)
	}
	return a.do(ctx, c)
}

// webhook returns the webhook that a person named.
func (c call) webhook(i config.Identity) (Webhook, error) {
	if i.Fingerprint != "" {
		f, err := fingerprint.Parse(i.Fingerprint)
		return Webhook{Fingerprint: &f}, err
	}
	if of := c.of.HTTP.Identity; of != "cognigy" {
		return Webhook{}, fmt.Errorf("the identity is %s, and not DIALOG NODE SEQUENCE: give --fingerprint", of)
	}
	return Webhook{Tenant: c.of.Name, Dialog: i.Dialog, Node: i.Node, Sequence: *i.Sequence}, nil
}

// tenant returns the tenant that a person named.
func tenant(line *config.CommandLine) (config.Tenant, error) {
	name, one := line.Inspect.Tenant, true
	switch line.Command {
	case "stats":
		name, one = line.Stats.Tenant, false
	case "trail":
		name = line.TrailOf.Tenant
	case "poisoned":
		name = line.Poisoned.Tenant
	case "doubtful":
		name = line.Doubtful.Tenant
	case "forget":
		name = line.Forget.Tenant
	case "resolve":
		name = line.Resolve.Tenant
	}
	if name == "" && one && len(line.Tenants) > 0 {
		return config.Tenant{}, errors.New("whose webhooks? want --tenant, since the file of settings names tenants")
	}
	return line.Of(name)
}

func load(c call) Load {
	return Load{
		Rate: c.Size.Rate, Duplicates: c.Size.Duplicates, Bytes: int(c.Size.Bytes),
		ResultTTL: c.Execution.ResultTTL, Cores: c.Size.Cores, BackendTime: c.Size.BackendTime,
		WaitTimeout: c.Execution.WaitTimeout, ExecutionTimeout: c.Execution.Timeout,
		MaxExecutions: c.Execution.MaxExecutions, MaxWaiters: c.Execution.MaxWaiters,
	}
}
