package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// Metrics reads the metrics hashes of all buckets and merges them: counters are added up, and the history is that of
// the bucket which met its history last. It reads the named fields (History stands for all fields of the history), or
// all fields if none is named.
func Metrics(ctx context.Context, client rueidis.Client, keys Keys, fields ...string) (map[string]string, error) {
	buckets := keys.Buckets()
	commands := make(rueidis.Commands, len(buckets))
	for i, b := range buckets {
		if fields == nil {
			commands[i] = client.B().Hgetall().Key(b.Metrics()).Build()
		} else {
			commands[i] = client.B().Hmget().Key(b.Metrics()).Field(fields...).Build()
		}
	}
	total := make(map[string]string)
	for i, reply := range client.DoMulti(ctx, commands...) {
		metrics, err := fieldsOf(reply, fields)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", buckets[i].Metrics(), err)
		}
		readHistory(metrics)
		later := i == 0 || integer(metrics["met_at"]) > integer(total["met_at"])
		for field, value := range metrics {
			switch known, found := total[field]; {
			case slices.Contains(ofHistory, field):
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

// fieldsOf reads the reply to HMGET of fields, or to HGETALL.
func fieldsOf(reply rueidis.RedisResult, fields []string) (map[string]string, error) {
	if fields == nil {
		return reply.AsStrMap()
	}
	values, err := reply.ToArray()
	if err != nil {
		return nil, err
	}
	metrics := make(map[string]string, len(fields))
	for i, v := range values {
		if text, err := v.ToString(); err == nil { // a field that was never counted does not exist
			metrics[fields[i]] = text
		}
	}
	return metrics, nil
}

// History is the field in which the script notes a bucket's history.
const History = "history"

// ofHistory names the parts of the field history, in their order: the id, when the history was met and, while Redis
// settles, until when, and the SETTLE of the replica that set this.
var ofHistory = []string{History, "met_at", "settled_at", "settle"}

// readHistory splits the field history into one field for each part.
func readHistory(metrics map[string]string) {
	for i, value := range strings.Fields(metrics[ofHistory[0]]) {
		if i < len(ofHistory) {
			metrics[ofHistory[i]] = value
		}
	}
}

func integer(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
