package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Stage is a Redis and the replicas on it.
type Stage struct {
	dir      string
	program  string // the gateway
	redis    *process
	redisURL string
	replicas []*replica
	proxy    *proxy
}

// replica is a gateway at an address that it keeps when it is started again.
type replica struct {
	address     string
	environment []string

	mu      sync.Mutex // a killed process makes way for another
	process *process
}

const gateway = "github.com/oncegate/oncegate"

// Open builds the gateway and starts Redis and two replicas of it. Their settings are those of the environment, with what
// is given here, as NAME=value, put first.
func Open(ctx context.Context, settings ...string) (*Stage, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, errors.New("without --target it takes a redis-server: the Debian package redis-server")
	}
	dir, err := os.MkdirTemp("", "oncegate-loadtest-")
	if err != nil {
		return nil, err
	}
	s := &Stage{dir: dir, program: filepath.Join(dir, "oncegate")}
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
	address, err := freeAddress()
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(address)
	if s.redis, err = start(ctx, s.dir, nil, dials(address), "redis-server",
		"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"); err != nil {
		return err
	}
	s.redisURL = "redis://" + address
	for range 2 {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		r := &replica{address: address, environment: append([]string{"REDIS_HOST=", "REDIS_URL=" + s.redisURL, "LISTEN=" + address}, settings...)}
		s.replicas = append(s.replicas, r)
		if err := s.start(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) start(ctx context.Context, r *replica) error {
	p, err := start(ctx, s.dir, r.environment, says200("http://"+r.address+"/readyz"), s.program)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process = p
	return nil
}

// Targets are the URLs of a path on the replicas.
func (s *Stage) Targets(path string) []string {
	var targets []string
	for _, r := range s.replicas {
		targets = append(targets, "http://"+r.address+path)
	}
	return targets
}

// RedisURL is where the replicas keep their records.
func (s *Stage) RedisURL() string { return s.redisURL }

// Memory is what Redis and the replicas have in memory, in bytes.
func (s *Stage) Memory() map[string]int64 {
	bytes := map[string]int64{"Redis": s.redis.memory()}
	for i, r := range s.replicas {
		r.mu.Lock()
		bytes[fmt.Sprintf("replica %d", i+1)] = r.process.memory()
		r.mu.Unlock()
	}
	return bytes
}

// Close ends all that was started.
func (s *Stage) Close() {
	if s.proxy != nil {
		s.proxy.process.stop()
	}
	for _, r := range s.replicas {
		if r.process != nil {
			r.process.stop()
		}
	}
	if s.redis != nil {
		s.redis.stop()
	}
	_ = os.RemoveAll(s.dir)
}
