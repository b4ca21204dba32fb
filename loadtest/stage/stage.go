// Package stage starts the programs for a load test without a target: Redis, two replicas, and an nginx before them.
// All of them run on loopback and end with the stage.
package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/oncegate/oncegate/internal/proc"
)

// Stage is a Redis with its replicas.
type Stage struct {
	dir      string
	program  string // path of the gateway's binary
	redis    *proc.Process
	redisURL string
	replicas []*replica
	proxy    *proxy
}

// replica is a gateway that keeps its address when it is started again.
type replica struct {
	address     string
	admin       string
	environment []string

	mu      sync.Mutex // guards process, which is replaced after a kill
	process *proc.Process
}

const gateway = "github.com/oncegate/oncegate"

// Open builds the gateway and starts Redis and two replicas of it. Their settings come from the environment; settings
// given here, as NAME=value, take precedence. With neighbours, the replicas have their tenants.
func Open(ctx context.Context, neighbours *Neighbours, settings ...string) (*Stage, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, errors.New("without --target it takes a redis-server: the Debian package redis-server")
	}
	dir, err := os.MkdirTemp("", "oncegate-loadtest-")
	if err != nil {
		return nil, err
	}
	s := &Stage{dir: dir, program: filepath.Join(dir, "oncegate")}
	if neighbours != nil {
		file := filepath.Join(dir, "oncegate.yaml")
		if err := os.WriteFile(file, []byte(neighbours.file()), 0o600); err != nil {
			s.Close()
			return nil, err
		}
		settings = append(settings, "CONFIG="+file)
	}
	if err := s.open(ctx, settings); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stage) open(ctx context.Context, settings []string) error {
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.program, gateway).CombinedOutput(); err != nil {
		return fmt.Errorf("building the gateway (run it inside the repository, or give it a --target): %w: %s", err, out)
	}
	port, err := proc.FreePort()
	if err != nil {
		return err
	}
	redis := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	if s.redis, err = s.run(ctx, redis, proc.Listens("127.0.0.1:"+port)); err != nil {
		return err
	}
	s.redisURL = "redis://127.0.0.1:" + port
	for range 2 {
		port, err := proc.FreePort()
		if err != nil {
			return err
		}
		admin, err := proc.FreePort()
		if err != nil {
			return err
		}
		r := &replica{address: "127.0.0.1:" + port, admin: "127.0.0.1:" + admin}
		r.environment = append([]string{"REDIS_HOST=", "REDIS_URL=" + s.redisURL, "LISTEN=" + r.address,
			"ADMIN_LISTEN=" + r.admin}, settings...)
		s.replicas = append(s.replicas, r)
		if err := s.start(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) start(ctx context.Context, r *replica) error {
	command := exec.Command(s.program)
	command.Env = append(command.Environ(), r.environment...)
	p, err := s.run(ctx, command, proc.Says200("http://"+r.address+"/readyz"))
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process = p
	return nil
}

// run starts a program in the stage's directory and returns when it is ready.
func (s *Stage) run(ctx context.Context, command *exec.Cmd, ready func(context.Context) error) (*proc.Process, error) {
	command.Dir = s.dir
	p, err := proc.Start(command)
	if err != nil {
		return nil, err
	}
	if err := p.Await(ctx, ready); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// Targets returns the URLs of a path on all replicas.
func (s *Stage) Targets(path string) []string {
	var targets []string
	for _, r := range s.replicas {
		targets = append(targets, "http://"+r.address+path)
	}
	return targets
}

// Scrapes returns the URLs of the metrics of all replicas.
func (s *Stage) Scrapes() []string {
	var urls []string
	for _, r := range s.replicas {
		urls = append(urls, "http://"+r.admin+"/metrics")
	}
	return urls
}

// RedisURL returns the URL of the Redis that holds the records.
func (s *Stage) RedisURL() string { return s.redisURL }

// Memory returns the resident memory of Redis and of the replicas, in bytes; 0 if the system does not tell.
func (s *Stage) Memory() map[string]int64 {
	memory, _ := s.redis.Memory()
	bytes := map[string]int64{"Redis": memory}
	for i, r := range s.replicas {
		r.mu.Lock()
		memory, _ := r.process.Memory()
		r.mu.Unlock()
		bytes[fmt.Sprintf("replica %d", i+1)] = memory
	}
	return bytes
}

// Close ends everything that was started.
func (s *Stage) Close() {
	if s.proxy != nil {
		s.proxy.process.Stop()
	}
	for _, r := range s.replicas {
		if r.process != nil {
			r.process.Stop()
		}
	}
	if s.redis != nil {
		s.redis.Stop()
	}
	_ = os.RemoveAll(s.dir)
}
