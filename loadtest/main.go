// Loadtest plays scenarios against a gateway and checks the outcome: every webhook was executed once, all its answers
// are the same, and the counters add up.
//
//	go run ./loadtest SCENARIO [--target URL …]
//
// Without a target it starts Redis and two replicas, and ends them afterwards. docs/loadtest.md walks through a storm.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/oncegate/oncegate/loadtest/stage"
)

// The exit status. (go run exits with 1 for both, and prints the status.)
const (
	violated = 1
	failed   = 2 // no verdict was reached
)

// errViolated says that a promise was not kept.
var errViolated = errors.New("a promise was not kept")

// commandLine has the arguments. The gateway's own settings come from the environment.
type commandLine struct {
	Scenario string `arg:"" help:"One of those below, or all: each in turn, for a few seconds."`

	Target      []string      `sep:"none" placeholder:"URL" help:"A replica; again for each further one. Without any: Redis and two replicas are started, and ended afterwards."`
	Rate        float64       `help:"Deliveries a second; 0: the scenario's own."`
	Duration    time.Duration `help:"How long; 0: the scenario's own."`
	Connections int           `default:"2000" help:"To each target, at most."`
	Seed        uint64        `help:"The same seed sends the same webhooks; 0: another one each time."`
	SLO         time.Duration `name:"slo" default:"50ms" help:"Of max-rate: what p99 must stay under."`
	Tenant      string        `placeholder:"NAME" help:"The tenant whose webhooks are sent to the targets, at /t/NAME."`
	Key         string        `placeholder:"KEY" help:"Its API key."`
	Header      []string      `sep:"none" placeholder:"NAME:VALUE" help:"Sent with every delivery, such as an API key."`
	Out         string        `default:"loadtest-reports" help:"Directory of the reports, one for each scenario."`
	Owned       bool          `name:"i-own-this-target" help:"Load targets that are not on this machine."`

	RedisURL     string        `name:"redis-url" env:"REDIS_URL" placeholder:"URL" help:"The Redis of the targets, for their counters."`
	KeyPrefix    string        `env:"KEY_PREFIX" default:"cognigy" help:"Theirs."`
	MetricsFlush time.Duration `env:"METRICS_FLUSH" default:"1s" help:"Theirs: how long they keep counts."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, errViolated):
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(violated)
	default:
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(failed)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	var line commandLine
	parser, err := kong.New(&line, kong.Name("loadtest"), kong.Description(description()))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return err
	}
	if line.Scenario == "all" {
		return line.playAll(ctx, out, progress)
	}
	s := named(line.Scenario)
	if s == nil {
		return fmt.Errorf("no scenario is named %q; there are: all, %s", line.Scenario, names())
	}
	return line.play(ctx, s, out, progress)
}

func description() string {
	var text strings.Builder
	text.WriteString("Plays a scenario against a gateway and checks what it left behind.\n\nScenarios:\n")
	for _, s := range scenarios {
		fmt.Fprintf(&text, "\n  %-11s %s", s.name, s.about)
	}
	return text.String()
}

// briefly is how long each scenario is played if all of them are.
const briefly = 5 * time.Second

func (line commandLine) playAll(ctx context.Context, out, progress io.Writer) error {
	if line.Duration == 0 {
		line.Duration = briefly
	}
	var found error
	for _, s := range scenarios {
		if len(line.Target) > 0 && s.own() {
			fmt.Fprintf(out, "%s is left out: it takes replicas of its own\n", s.name)
			continue
		}
		err := line.play(ctx, s, out, progress)
		switch {
		case errors.Is(err, stage.ErrNoProxy):
			fmt.Fprintf(out, "%s is left out: %v\n\n", s.name, err)
		case errors.Is(err, errViolated):
			found = errors.Join(found, fmt.Errorf("%s: %w", s.name, err))
		case err != nil:
			return fmt.Errorf("%s: %w", s.name, err)
		case ctx.Err() != nil:
			return found
		}
	}
	return found
}

// play sets up one scenario and plays it.
func (line commandLine) play(ctx context.Context, s *scenario, out, progress io.Writer) error {
	header, err := line.header()
	if err != nil {
		return err
	}
	p := &play{
		scenario: s, seed: line.Seed, rate: line.Rate, duration: line.Duration, slo: line.SLO,
		load:     load{header: header, connections: line.Connections},
		tenant:   line.Tenant,
		progress: progress,
	}
	if p.rate == 0 {
		p.rate = s.rate
	}
	if p.duration == 0 {
		p.duration = s.duration
	}
	if p.rate < 1 || p.rate > 1e6 || p.duration < 0 || p.connections < 1 {
		return fmt.Errorf("--rate %v, --duration %v, --connections %d: want a rate from 1 to 1000000, a time, and "+
			"a connection",
			p.rate, p.duration, p.connections)
	}
	if p.seed == 0 {
		p.seed = rand.Uint64N(1e6) + 1 //nolint:gosec // it names webhooks and protects nothing
	}
	for _, t := range line.Target {
		at, err := address(ctx, t, pathOf(line.Tenant), line.Owned)
		if err != nil {
			return err
		}
		p.targets = append(p.targets, at)
	}
	redisURL := line.RedisURL
	switch {
	case len(line.Target) == 0:
		if line.Tenant != "" {
			return errors.New("--tenant names a tenant of the targets: it needs --target")
		}
		fmt.Fprintf(progress, "starting Redis and two replicas for %s\n", s.name)
		end, err := p.openStage(ctx)
		if err != nil {
			return err
		}
		defer end()
		redisURL = p.stage.RedisURL()
	case s.own():
		return fmt.Errorf("%s takes replicas of its own, without --target", s.name)
	case redisURL == "":
		return errors.New("set REDIS_URL to the Redis of the targets: without their counters there is no verdict")
	}
	if err := p.openBook(ctx, redisURL, line.KeyPrefix, line.MetricsFlush); err != nil {
		return err
	}
	defer p.book.Client.Close()
	return p.run(ctx, filepath.Join(line.Out, s.name), out)
}

// openStage starts what the scenario needs, and returns what ends it.
func (p *play) openStage(ctx context.Context) (end func(), err error) {
	var neighbours *stage.Neighbours
	if p.kind == proxied {
		if err := stage.HasProxy(); err != nil {
			return nil, err
		}
	}
	if p.kind == beside {
		if neighbours, err = stage.OpenNeighbours(); err != nil {
			return nil, err
		}
		p.tenant = stage.Quiet
		p.header.Set("X-API-Key", stage.QuietKey)
	}
	end = func() {
		p.stage.Close()
		if neighbours != nil {
			neighbours.Close()
		}
	}
	if p.stage, err = stage.Open(ctx, neighbours, p.settings()...); err != nil {
		if neighbours != nil {
			neighbours.Close()
		}
		return nil, err
	}
	p.targets = p.stage.Targets(pathOf(p.tenant))
	return end, nil
}

func (line *commandLine) header() (http.Header, error) {
	header := http.Header{"Content-Type": {"application/json"}}
	if line.Key != "" {
		header.Set("X-API-Key", line.Key)
	}
	for _, h := range line.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, errors.New("--header: want NAME:VALUE")
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return header, nil
}
