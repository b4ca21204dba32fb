package process

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server of its own, on loopback, that keeps nothing on disk.
type Redis struct {
	*Process
	Address string
	Client  *redis.Client
	dir     string
}

// startTime is how long a program may take until it answers. Oncegate waits SETTLE (3 s) on a new Redis.
const startTime = 20 * time.Second

// StartRedis starts one and waits until it answers.
func StartRedis(ctx context.Context) (*Redis, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	dir, err := os.MkdirTemp("", "oncegate-bench-redis-")
	if err != nil {
		return nil, err
	}
	p, err := Start(dir, nil, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", dir, "--maxclients", "20000")
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	r := &Redis{Process: p, Address: address, dir: dir, Client: redis.NewClient(&redis.Options{Addr: address})}
	if err := p.Await(ctx, func(ctx context.Context) error { return r.Client.Ping(ctx).Err() }); err != nil {
		r.Stop()
		return nil, err
	}
	return r, nil
}

// Stop ends the server and removes its directory.
func (r *Redis) Stop() {
	_ = r.Client.Close()
	r.Process.Stop()
	_ = os.RemoveAll(r.dir)
}

// UsedMemory is what Redis says that its data takes, in bytes.
func (r *Redis) UsedMemory(ctx context.Context) (int64, error) {
	text, err := r.Client.InfoMap(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text["Memory"]["used_memory"], 10, 64)
}

// Await asks until the process answers, or has ended.
func (p *Process) Await(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return p.Failure()
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w (%w)", p.name, err, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// FreeAddress is host:port on loopback where nobody listens.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}
