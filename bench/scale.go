package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oncegate/oncegate/bench/contender"
	"github.com/oncegate/oncegate/bench/load"
	"github.com/oncegate/oncegate/bench/process"
)

const (
	scaleConnections = 64
	scaleTTL         = time.Hour
	scalePipeline    = 1_000 // records in one pipeline
)

// Scale is the speed of Oncegate with many live records in Redis.
type Scale struct {
	Records   int     `json:"records"`
	FirstTime Sample  `json:"first_time"`
	Retries   Sample  `json:"retries"`
	Memory    int64   `json:"server_resident_bytes"`
	Overhead  float64 `json:"redis_bytes_per_record_beyond_payload"`
}

func (b *Bench) measureScale(ctx context.Context) error {
	for _, c := range b.contenders {
		if c.Name != "oncegate" {
			continue
		}
		for _, records := range b.Records {
			progress("scale: %d live records", records)
			scale, err := b.scale(ctx, c, records)
			if err != nil {
				return fmt.Errorf("%d live records: %w", records, err)
			}
			b.report.Scale = append(b.report.Scale, scale)
		}
	}
	return nil
}

func (b *Bench) scale(ctx context.Context, c *contender.Contender, records int) (Scale, error) {
	scale := Scale{Records: records}
	store, err := process.StartRedis(ctx)
	if err != nil {
		return scale, err
	}
	overhead, err := b.preload(ctx, store, records)
	if err != nil {
		store.Stop()
		return scale, err
	}
	scale.Overhead = overhead
	r, err := c.Start(ctx, b.bin, store, 1, 0, b.sequences)
	if err != nil {
		return scale, err
	}
	defer r.Stop()
	if scale.FirstTime, err = b.measure(ctx, r, Cell{load.FirstTime, scaleConnections}, b.ScaleTime); err != nil {
		return scale, err
	}
	if scale.Retries, err = b.measure(ctx, r, Cell{load.Retries, scaleConnections}, b.ScaleTime); err != nil {
		return scale, err
	}
	scale.Memory, err = r.Memory()
	return scale, err
}

// preload writes done records as Oncegate does. It returns how many bytes a record takes in Redis in addition to its
// result.
func (b *Bench) preload(ctx context.Context, store *process.Redis, records int) (float64, error) {
	before, err := store.UsedMemory(ctx)
	if err != nil {
		return 0, err
	}
	now, err := store.Client.Time(ctx).Result()
	if err != nil {
		return 0, err
	}
	data := string(load.Data(now.Unix()))
	head := fmt.Sprintf("D1 1 gateway-1/7~BPRDOZUB~1b J5M7wq12-hi4nBTZlZPAAw %d %d 200 - -\n",
		now.UnixMilli(), scaleTTL.Milliseconds())
	writer := redis.NewClient(&redis.Options{Addr: store.Address})
	for written := 0; written < records; {
		pipeline := writer.Pipeline()
		for range min(scalePipeline, records-written) {
			pipeline.Set(ctx, "cognigy:fp:"+load.Fingerprint(b.sequences.Next()), head+data, scaleTTL)
			written++
		}
		if _, err := pipeline.Exec(ctx); err != nil {
			_ = writer.Close()
			return 0, fmt.Errorf("writing records: %w", err)
		}
	}
	if err := writer.Close(); err != nil { // otherwise its buffers in Redis would count as records
		return 0, err
	}
	after, err := store.UsedMemory(ctx)
	return float64(after-before)/float64(records) - float64(len(data)), err
}
