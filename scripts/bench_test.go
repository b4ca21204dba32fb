package scripts_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/scripts"
)

// BenchmarkGroup is what Redis itself spends on an operation (commandstats), in groups of so many: a claim and a store
// of a new webhook each.
func BenchmarkGroup(b *testing.B) {
	for _, size := range []int{1, 8, 64, 128} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			e := onReal(b)
			call := scripts.Call{Metrics: "cognigy:metrics", Flushed: "cognigy:flush:bench", Settle: 1, Lease: lease, TTL: ttl}
			run := func(ops []scripts.Op) {
				call.Ops = ops
				if _, err := scripts.Run(context.Background(), e.client, call); err != nil {
					b.Fatal(err)
				}
			}
			run(nil)
			redistest.Do(b, e.client, "CONFIG", "RESETSTAT")
			claims, stores := make([]scripts.Op, size), make([]scripts.Op, size)
			n := 0
			for b.Loop() {
				for i := range size {
					n++
					key := fmt.Sprintf("cognigy:fp:%064x", n)
					claims[i] = claimOp(key, "DFJRGK2HLQ3ZJN4MZUWVKXEB5I", true, digest, false)
					stores[i] = storeOp(key, 1, "DFJRGK2HLQ3ZJN4MZUWVKXEB5I", digest, result, ttl)
				}
				run(claims)
				run(stores)
			}
			for line := range strings.Lines(redistest.Do(b, e.client, "INFO", "commandstats")) {
				var calls, us int
				if _, err := fmt.Sscanf(line, "cmdstat_evalsha:calls=%d,usec=%d,", &calls, &us); err == nil {
					b.ReportMetric(float64(us)/float64(2*n), "redis-µs/op")
				}
			}
		})
	}
}
