package command

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"
)

// Load is the load that a gateway must carry.
type Load struct {
	Rate       float64       // deliveries a second, duplicates included
	Duplicates float64       // share of deliveries, 0 to 1, that are duplicates of a finished webhook
	Bytes      int           // of a result
	ResultTTL  time.Duration // how long records live
	Cores      int           // of one replica

	BackendTime time.Duration // how long the logic takes

	// The gateway's settings.
	WaitTimeout, ExecutionTimeout time.Duration
	MaxExecutions, MaxWaiters     int // of one replica; 0: no limit
}

// The costs of operations, measured (docs/performance.md) on a virtual machine on which a bare HTTP server takes 13 µs
// a request. On another machine they scale with that figure.
const (
	cpuFirstTime   = 40 * time.Microsecond // CPU of a replica for an executed webhook: grouped, without its logic
	cpuReplay      = 14 * time.Microsecond // CPU of a replica for a duplicate from the client-side cache
	redisFirstTime = 20 * time.Microsecond // time of Redis' thread for a claim and a store, grouped

	recordOverhead = 285 // bytes that Redis needs in addition to a result: key, line, its own bookkeeping
	allocation     = 1.1 // Redis' allocator rounds up to its size classes
	wireFirstTime  = 345 // bytes between a replica and Redis for an executed webhook, both ways, without its result

	waiterBytes = 44 << 10 // memory of a replica for a request that waits, with its connection

	// peak is the ratio of MAX_EXECUTIONS to the average number of executions that leaves room for bursts.
	peak = 2
	// busy is the share of a core that is planned for: beyond it, waiting times grow faster than the load.
	busy = 0.6
	// trackedKeys is how many keys Redis tracks for client-side caches by default (tracking-table-max-keys).
	trackedKeys = 1_000_000
)

// Size is the capacity that a load needs.
type Size struct {
	FirstTime     float64 // webhooks a second that are executed
	ReplicaCores  float64 // cores that all replicas together use
	Replicas      int
	PrimaryCores  float64 // threads that all primaries together use
	Primaries     int
	Records       float64 // number of records alive at once
	RecordBytes   float64 // memory of Redis for these records
	NetworkPerSec float64 // bytes a second between replicas and Redis

	// Averages in one replica: executions at once, and first callers that wait for them.
	Executions, Waiters float64
}

// SizeOf calculates the capacity for a load.
func SizeOf(l Load) Size {
	s := Size{FirstTime: l.Rate * (1 - l.Duplicates)}
	s.ReplicaCores = s.FirstTime*cpuFirstTime.Seconds() + l.Rate*l.Duplicates*cpuReplay.Seconds()
	s.Replicas = max(int(math.Ceil(s.ReplicaCores/busy/float64(l.Cores))), 1)
	s.PrimaryCores = s.FirstTime * redisFirstTime.Seconds()
	s.Primaries = max(int(math.Ceil(s.PrimaryCores/busy)), 1)
	s.Records = s.FirstTime * l.ResultTTL.Seconds()
	s.RecordBytes = s.Records * float64(l.Bytes+recordOverhead) * allocation
	s.NetworkPerSec = s.FirstTime * float64(wireFirstTime+l.Bytes)
	s.Executions = s.FirstTime * min(l.BackendTime, l.ExecutionTimeout).Seconds() / float64(s.Replicas)
	s.Waiters = s.FirstTime * min(l.BackendTime, l.ExecutionTimeout, l.WaitTimeout).Seconds() / float64(s.Replicas)
	return s
}

// PrintSize describes the capacity for a load. The error names a part of the load that makes no sense.
func PrintSize(l Load, out io.Writer) error {
	switch {
	case !(l.Rate >= 0 && l.Rate <= 1e9):
		return fmt.Errorf("a rate of %v: must be 0 to 1e9 webhooks a second", l.Rate)
	case !(l.Duplicates >= 0 && l.Duplicates <= 1):
		return fmt.Errorf("a share of duplicates of %v: must be 0 to 1", l.Duplicates)
	case l.Cores < 1:
		return fmt.Errorf("replicas of %d cores: must be 1 or more", l.Cores)
	case l.BackendTime < 0:
		return fmt.Errorf("a backend time of %v: must be 0 or more", l.BackendTime)
	}
	s := SizeOf(l)
	page := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(label, format string, args ...any) {
		_, _ = fmt.Fprintf(page, "%s\t%s\n", label, fmt.Sprintf(format, args...)) // Flush returns the error
	}
	line("load", "%s webhooks/s, %.0f%% of them duplicates, results of %s, kept for %v", count(l.Rate), 100*l.Duplicates,
		size(float64(l.Bytes)), l.ResultTTL)
	line("backend", "takes %v", l.BackendTime)
	line("executed", "%s/s", count(s.FirstTime))
	line("replicas", "%d of %d cores (%.1f cores used)", s.Replicas, l.Cores, s.ReplicaCores)
	line("executions at once", "%.0f in each replica, and so many requests to the backend", math.Ceil(s.Executions))
	line("callers at once", "%.0f in each replica: %s beside the caches", math.Ceil(s.Waiters),
		size(s.Waiters*waiterBytes))
	line("redis primaries", "%d (%.2f threads used)", s.Primaries, s.PrimaryCores)
	line("redis memory", "%s for %s records", size(s.RecordBytes), count(s.Records))
	line("network to redis", "%s/s", size(s.NetworkPerSec))
	line("planned for", "%.0f%% busy; the logic's own cost is not in it", 100*busy)
	for _, bottleneck := range s.bottlenecks(l) {
		line("next", "%s", bottleneck)
	}
	return page.Flush()
}

// bottlenecks lists the limits that a growing load meets, the first one first.
func (s Size) bottlenecks(l Load) (told []string) {
	told = s.slowness(l)
	if s.Primaries > 1 {
		told = append(told, fmt.Sprintf("one Redis carries %s executed/s: more takes Redis Cluster, with so many primaries",
			count(busy/redisFirstTime.Seconds())))
	}
	if l.Duplicates > 0 && s.Records > trackedKeys {
		told = append(told, "Redis tracks 1 M keys for the client-side caches (tracking-table-max-keys): duplicates of "+
			"older webhooks cost a round trip")
	}
	if s.NetworkPerSec > 100<<20 {
		told = append(told, "the network between replicas and Redis: more than a gigabit")
	}
	if len(told) == 0 {
		told = append(told, fmt.Sprintf("Redis' one thread, at %s executed/s", count(busy/redisFirstTime.Seconds())))
	}
	return told
}

// slowness lists the limits that a load meets because the backend is slow.
func (s Size) slowness(l Load) (told []string) {
	add := func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	if l.BackendTime >= l.ExecutionTimeout {
		add("EXECUTION_TIMEOUT (%v) cuts the backend off: callers get 500, the next delivery executes again, in doubt",
			l.ExecutionTimeout)
	}
	if l.MaxExecutions > 0 && s.Executions > float64(l.MaxExecutions) {
		replicas := math.Ceil(peak * s.Executions * float64(s.Replicas) / float64(l.MaxExecutions))
		add("MAX_EXECUTIONS (%d a replica): what is beyond it gets 503; set it to %.0f, or take %.0f replicas",
			l.MaxExecutions, math.Ceil(peak*s.Executions), replicas)
	}
	if l.MaxWaiters > 0 && s.Waiters > float64(l.MaxWaiters) {
		add("MAX_WAITERS (%d a replica): what is beyond it gets 503; set it to %.0f, which takes %s a replica",
			l.MaxWaiters, math.Ceil(peak*s.Waiters), size(peak*s.Waiters*waiterBytes))
	}
	if l.BackendTime > l.WaitTimeout {
		add("WAIT_TIMEOUT (%v): first callers are told \"still processing\" and ask again, more requests than are "+
			"counted here",
			l.WaitTimeout)
	}
	return told
}

func count(n float64) string {
	switch {
	case n >= 10_000_000:
		return fmt.Sprintf("%.0f M", n/1e6)
	case n >= 1_000_000:
		return fmt.Sprintf("%.1f M", n/1e6)
	case n >= 10_000:
		return fmt.Sprintf("%.0f k", n/1e3)
	}
	return fmt.Sprintf("%.0f", n)
}

func size(bytes float64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", bytes/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.0f MiB", bytes/(1<<20))
	case bytes >= 1<<10:
		return fmt.Sprintf("%.0f KiB", bytes/(1<<10))
	}
	return fmt.Sprintf("%.0f bytes", bytes)
}
