// Package contender knows the programs that are compared: how each is built, started and configured. It does not load
// them.
package contender

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/oncegate/oncegate/bench/load"
	"github.com/oncegate/oncegate/bench/process"
	"github.com/oncegate/oncegate/internal/proc"
)

// Contender is a program that can be compared.
type Contender struct {
	Name     string
	Title    string // describes it in one line
	Replicas int    // number of replicas in the comparison of speed
	Gate     bool   // it decides who executes; true for all but bare

	// prepare builds the program, or says what is missing.
	prepare func(ctx context.Context, dir string) error
	// start runs one replica.
	start func(o options) (*process.Process, error)
}

// options are the settings of a replica.
type options struct {
	bin     string // directory in which prepare has put programs
	dir     string // directory of this replica alone
	address string // address to listen on
	redis   string // host:port of Redis
	delay   time.Duration
}

// Bare is the name of the contender that all others are compared with.
const Bare = "bare"

// All returns every contender in the order of the tables.
func All() []*Contender {
	return []*Contender{
		{Name: Bare, Title: "a fasthttp server that answers the same bytes and does nothing else", Replicas: 1,
			prepare: build("bare", "./peers/bare"), start: bare},
		{Name: "oncegate", Title: "Oncegate, one replica", Replicas: 1, Gate: true,
			prepare: build("oncegate", ".."), start: oncegate},
		{Name: "oncegate-2", Title: "Oncegate, two replicas, half of the connections each", Replicas: 2, Gate: true,
			prepare: build("oncegate", ".."), start: oncegate},
		{Name: "ungrouped", Title: "Oncegate that makes each operation a call of its own", Replicas: 1, Gate: true,
			prepare: build("without", "./peers/oncegate"), start: without("grouping")},
		{Name: "uncached", Title: "Oncegate without the client-side cache", Replicas: 1, Gate: true,
			prepare: build("without", "./peers/oncegate"), start: without("cache")},
		{Name: "nginx", Title: "nginx with Lua, 2 workers, a shared dictionary, EVALSHA and SET", Replicas: 1, Gate: true,
			prepare: nginxPackages, start: nginx},
		{Name: "fiber", Title: "Fiber v3's idempotency middleware on its Redis storage", Replicas: 1, Gate: true,
			prepare: build("fiber", "./peers/fiber"), start: golang("fiber")},
		{Name: "nethttp", Title: "net/http and go-redis: SET NX, GET, SET", Replicas: 1, Gate: true,
			prepare: build("nethttp", "./peers/nethttp"), start: golang("nethttp")},
		{Name: "python", Title: "the same in Python: FastAPI, uvicorn with 2 workers, redis-py", Replicas: 1, Gate: true,
			prepare: pythonPackages, start: python},
	}
}

// Prepare builds the contender into a directory. The error says what is missing.
func (c *Contender) Prepare(ctx context.Context, bin string) error { return c.prepare(ctx, bin) }

// Running is a contender that was started: its replicas and their Redis.
type Running struct {
	*Contender
	Addresses []string
	Redis     *process.Redis
	replicas  []*process.Process
	dirs      []string
}

// Start starts replicas of the contender on a Redis, which Stop ends with them. It returns when all of them answer, and
// checks their answers to a first webhook.
func (c *Contender) Start(
	ctx context.Context, bin string, store *process.Redis, replicas int, delay time.Duration, sequences *load.Sequences,
) (*Running, error) {
	r := &Running{Contender: c, Redis: store}
	for range replicas {
		if err := r.add(bin, delay); err != nil {
			r.Stop()
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	for i, replica := range r.replicas {
		if err := replica.Await(ctx, func(ctx context.Context) error {
			return greet(ctx, r.Addresses[i], sequences.Next(),
				c.Gate)
		}); err != nil {
			r.Stop()
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return r, nil
}

func (r *Running) add(bin string, delay time.Duration) error {
	port, err := proc.FreePort()
	if err != nil {
		return err
	}
	address := "127.0.0.1:" + port
	dir, err := os.MkdirTemp("", "oncegate-bench-"+r.Name+"-")
	if err != nil {
		return err
	}
	r.dirs = append(r.dirs, dir)
	replica, err := r.start(options{bin: bin, dir: dir, address: address, redis: r.Redis.Address, delay: delay})
	if err != nil {
		return err
	}
	r.Addresses = append(r.Addresses, address)
	r.replicas = append(r.replicas, replica)
	return nil
}

// Stop ends the replicas and their Redis.
func (r *Running) Stop() {
	for _, replica := range r.replicas {
		replica.Stop()
	}
	r.Redis.Stop()
	for _, dir := range r.dirs {
		_ = os.RemoveAll(dir)
	}
}

// CPU returns the CPU time that the replicas together have used.
func (r *Running) CPU() (time.Duration, error) { return total(r.replicas, (*process.Process).CPU) }

// Memory returns the resident memory of the replicas together, in bytes.
func (r *Running) Memory() (int64, error) { return total(r.replicas, (*process.Process).Memory) }

func total[N int64 | time.Duration](
	replicas []*process.Process, measure func(*process.Process) (N, error),
) (sum N, err error) {
	for _, replica := range replicas {
		n, err := measure(replica)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
