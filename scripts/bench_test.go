package scripts_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/scripts"
)

// BenchmarkGroup measures the time that Redis itself spends on an operation (commandstats), by size of the group. Each
// webhook in it is new and has a claim and a store.
func BenchmarkGroup(b *testing.B) { benchmarkGroup(b, scripts.Trail{}) }

func benchmarkGroup(b *testing.B, trail scripts.Trail) {
	for _, size := range []int{1, 4, 32, 128} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			e := onReal(b)
			call := benchCall(e)
			call.Trail = trail
			note := "0 dialogId=4f6c1b1e-8b0c-4a0f-9a53-1c2d3e4f5a6b&nodeId=n-0001&sequence=7&variables.orderId=4711"
			run := func(ops []scripts.Op) {
				call.Ops = ops
				if _, err := call.Run(context.Background(), e.client); err != nil {
					b.Fatal(err)
				}
			}
			run(nil)
			redistest.Do(b, e.client, "CONFIG", "RESETSTAT")
			claims, stores := make([]scripts.Op, size), make([]scripts.Op, size)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				for i := range size {
					n++
					key := fmt.Sprintf("cognigy:fp:%064x", n)
					claims[i] = claimOp(key, "DFJRGK2HLQ3ZJN4MZUWVKXEB5I", true, digest, false).Noted(note)
					stores[i] = storeOp(key, 1, "DFJRGK2HLQ3ZJN4MZUWVKXEB5I", digest, result)
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

// BenchmarkRun shows what a call allocates, with a claim of a new webhook for each operation. All that is left is
// rueidis' own.
func BenchmarkRun(b *testing.B) {
	for _, size := range []int{1, 32, 128} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			e := onReal(b)
			call := benchCall(e)
			groups := make([][]scripts.Op, b.N)
			for n := range groups {
				for i := range size {
					key := fmt.Sprintf("cognigy:fp:%032x%032x", n, i)
					groups[n] = append(groups[n], claimOp(key, "DFJRGK2H~1", true, digest, false))
				}
			}
			if _, err := call.Run(context.Background(), e.client); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.ResetTimer(); len(groups) > 0; groups = groups[1:] {
				call.Ops = groups[0]
				if _, err := call.Run(context.Background(), e.client); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchCall(e *engine) scripts.Call {
	return scripts.Call{
		Metrics: "cognigy:metrics", Flushed: "cognigy:flush:bench", Settle: time.Millisecond, Lease: lease,
		Classes: []scripts.Class{e.class()},
	}
}
