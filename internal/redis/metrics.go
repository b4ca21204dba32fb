package redis

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"
)

// Metrics reads the metrics hashes of all buckets and merges them: counters are added up, and the history is that of
// the bucket which met its history last.
func Metrics(ctx context.Context, client rueidis.Client, keys Keys) (map[string]string, error) {
	buckets := keys.Buckets()
	commands := make(rueidis.Commands, len(buckets))
	for i, b := range buckets {
		commands[i] = client.B().Hgetall().Key(b.Metrics()).Build()
	}
	total := make(map[string]string)
	for i, reply := range client.DoMulti(ctx, commands...) {
		metrics, err := reply.AsStrMap()
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", buckets[i].Metrics(), err)
		}
		later := i == 0 || integer(metrics["met_at"]) > integer(total["met_at"])
		for field, value := range metrics {
			switch known, found := total[field]; {
			case ofHistory[field]:
				if later {
					total[field] = value
				}
			case found:
				total[field] = strconv.FormatInt(integer(known)+integer(value), 10)
			default:
				total[field] = value
			}
		}
	}
	return total, nil
}

// ofHistory holds the fields with which the script remembers a bucket's history.
var ofHistory = map[string]bool{"history": true, "met_at": true, "settled_at": true, "settle": true}

func integer(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
