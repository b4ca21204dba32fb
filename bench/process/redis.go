package process

import (
	"context"
	"os"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/oncegate/oncegate/internal/proc"
)

// Redis is a redis-server on loopback that keeps nothing on disk.
type Redis struct {
	*Process
	Address string
	Client  *redis.Client
	dir     string
}

// StartRedis starts one and waits until it answers.
func StartRedis(ctx context.Context) (*Redis, error) {
	port, err := proc.FreePort()
	if err != nil {
		return nil, err
	}
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
	address := "127.0.0.1:" + port
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

// UsedMemory returns how many bytes Redis says that its data takes.
func (r *Redis) UsedMemory(ctx context.Context) (int64, error) {
	text, err := r.Client.InfoMap(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text["Memory"]["used_memory"], 10, 64)
}
