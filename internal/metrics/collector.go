// Package metrics reports to Prometheus what a gateway does. At each scrape it gathers the counts that the gate, the
// handler and the backend keep for themselves: no webhook waits for it.
//
// Metrics named oncegate_… are of this replica, and are summed over replicas. Metrics named oncegate_cluster_… are what
// Redis holds for all replicas: each replica reports the same value, so take the largest.
package metrics

import (
	"cmp"
	"compress/gzip"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/meter"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/upstream"
)

// Sources are the parts of a gateway that metrics are gathered from.
type Sources struct {
	Gate     *gate.Gate
	Store    *redis.Store
	Took     *gate.AnswerTimes
	Backends func() map[string]upstream.Snapshot // by tenant
	Version  string
	Timeout  time.Duration // of the question to Redis
	Log      *slog.Logger
}

// maxScrapes is how many scrapes may gather at once.
const maxScrapes = 4

// Page serves all metrics of a gateway, with those of its process.
func Page(s Sources) http.Handler {
	g := &gatherer{Sources: s, registry: prometheus.NewRegistry()}
	g.registry.MustRegister(g, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return page(g)
}

// page compresses for speed, in a third of the time that the library's own compression takes.
func page(g prometheus.Gatherer) http.Handler {
	fast, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		panic(err) // this level exists
	}
	return fast(promhttp.HandlerFor(g, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true, DisableCompression: true,
	}))
}

type gatherer struct {
	Sources

	registry *prometheus.Registry

	mu       sync.Mutex // guards the fields below: one scrape at a time looks at the gateway, and only once
	seen     gate.Snapshot
	backends map[string]upstream.Snapshot
}

// Gather is part of prometheus.Gatherer.
func (g *gatherer) Gather() ([]*dto.MetricFamily, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.backends = g.Gate.Snapshot(), g.Backends()
	families, err := g.registry.Gather()
	families = append(append(families, ofRequests(g.seen.Tenants)...), ofBackends(g.backends)...)
	slices.SortFunc(families, byName)
	return families, err
}

func byName(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) }

// Nameless is the tenant of a gateway without tenants, and of requests whose tenant is not known.
const Nameless = ""

// requestOutcomes are the values of a label, one for each kind of request. They add up to all requests.
var requestOutcomes = []struct {
	outcome string
	kinds   []link.Kind
}{
	{"executed", []link.Kind{link.Executed}},
	{"replayed", []link.Kind{link.ReplayedByScript, link.ReplayedLocal, link.Replayed}},
	{"waited", []link.Kind{link.Waited}},
	{"still_processing", []link.Kind{link.StillProcessing}},
	{"unavailable", []link.Kind{link.Unavailable, link.Unopened}},
	{"refused", []link.Kind{link.Refused}},
	{"limited", []link.Kind{link.Limited}},
	{"overloaded", []link.Kind{link.Overloaded}},
	{"poisoned", []link.Kind{link.Poisoned}},
	{"doubtful", []link.Kind{link.Doubtful}},
	{"malformed", []link.Kind{link.Malformed}},
	{"unauthorized", []link.Kind{link.Unauthorized}},
	{"forbidden", []link.Kind{link.Forbidden}},
	{"unsigned", []link.Kind{link.Unsigned}},
	{"unknown_tenant", []link.Kind{link.Unknown}},
}

// label returns the word for an outcome whose duration is measured.
func label(o gate.Outcome) string {
	if o == gate.Foreign || o == gate.Unreadable {
		o = gate.Unavailable
	}
	return o.String()
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("oncegate_"+name, help, labels, nil)
}

var (
	took     = describe("request_duration_seconds", "From a webhook's arrival to its answer.", "outcome")
	inFlight = describe("executions_in_flight", "Executions, and claims that may become one.")
	lasted   = describe("execution_duration_seconds", "The logic's own time.")
	oldest   = describe("execution_oldest_seconds", "How long the execution has run that began first; 0: none runs.")
	waiters  = describe("waiters", "Requests that wait for an execution.")
	takeover = describe("takeovers_total", "Executions begun after one that had crashed, or lost Redis for LOCK_TTL.")
	late     = describe("late_answers_total", "First callers who were told that their webhook is still processing.")
	mismatch = describe("mismatches_total", "Duplicates with another body than the one that was executed.")
	calls    = describe("redis_call_duration_seconds", "One call of the script.")
	groups   = describe("redis_group_size", "Operations that shared a call of the script.")
	up       = describe("redis_up", "1: Redis answers.")
	refuses  = describe("redis_refuses_writes", "1: Redis answers, and takes no writes (full, read-only, cannot save).")
	epochs   = describe("epochs_total", "Times that Redis may have lost data: a lost connection, a failover, FLUSHALL.")
	restored = describe("restored_total", "Records that this replica put back after Redis had forgotten them.")
	hits     = describe("replay_cache_hits_total", "Replays without a round trip.")
	misses   = describe("replay_cache_misses_total", "Replays that asked Redis.")
	cached   = describe("replay_cache_bytes", "Memory of the results that are replayed without a round trip.")
	journal  = describe("journal_bytes", "Memory of the outcomes that are put back where Redis forgot them.")
	answered = describe("upstream_duration_seconds", "From a request to the backend to its answer's head.")
	build    = describe("build_info", "1, with the version.", "version")
)

// Describe is part of prometheus.Collector.
func (g *gatherer) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		took, inFlight, lasted, oldest, waiters, takeover, late, mismatch, calls, groups, up, refuses,
		epochs, restored, hits, misses, cached, journal, answered, build,
	} {
		descriptions <- d
	}
	for _, m := range cluster {
		descriptions <- m.desc
	}
}

// Collect is part of prometheus.Collector.
func (g *gatherer) Collect(metrics chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := &g.seen
	exemplars := exemplarsOf(g.Took)
	for outcome, reading := range Durations(g.Took) {
		metrics <- histogram{took, &reading, secondsFrom, secondsTo, []string{outcome}, exemplars[outcome]}
	}
	gauge(inFlight, float64(s.Executing))
	metrics <- histogram{lasted, &s.Took, secondsFrom, secondsTo, nil, g.Gate.Exemplars()}
	gauge(oldest, s.Oldest.Seconds())
	gauge(waiters, float64(s.Waiting))
	count(takeover, s.Takeovers)
	count(late, s.Counts[link.LateAnswer])
	count(mismatch, s.Counts[link.Mismatch])
	metrics <- histogram{calls, &s.Calls, secondsFrom, secondsTo, nil, nil}
	metrics <- histogram{groups, &s.Groups, 0, 7, nil, nil}
	gauge(up, number(s.RedisUp))
	gauge(refuses, number(s.RefusesWrites))
	count(epochs, int64(s.Epochs))
	count(restored, s.Restored)
	count(hits, s.Counts[link.ReplayedLocal])
	count(misses, s.Counts[link.ReplayedByScript]+s.Counts[link.Replayed])
	gauge(cached, float64(s.ReplayCacheBytes))
	gauge(journal, float64(s.JournalBytes))
	if len(g.backends) > 0 {
		var lasted meter.Reading
		for _, b := range g.backends {
			lasted.Add(&b.Lasted)
		}
		metrics <- histogram{answered, &lasted, secondsFrom, secondsTo, nil, nil}
	}
	gauge(build, 1, g.Version)
	g.collectCluster(metrics)
}

// Durations returns how long webhooks took, by the word for their outcome. Outcomes with the same word are added up.
func Durations(took *gate.AnswerTimes) map[string]meter.Reading {
	readings := make(map[string]meter.Reading)
	for outcome := range gate.Missing { // no webhook's outcome is Missing
		sum, r := readings[label(outcome)], took[outcome].Read()
		sum.Add(&r)
		readings[label(outcome)] = sum
	}
	return readings
}

// exemplarsOf returns traces of webhooks, as examples of how long they took, by the word for their outcome.
func exemplarsOf(took *gate.AnswerTimes) map[string][]meter.Exemplar {
	all := make(map[string][]meter.Exemplar)
	for outcome := range gate.Missing {
		all[label(outcome)] = append(all[label(outcome)], took[outcome].Exemplars()...)
	}
	return all
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// collectCluster adds what Redis holds for all replicas. If Redis does not answer, those metrics are missing.
func (g *gatherer) collectCluster(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), g.Timeout)
	defer cancel()
	fields, err := redis.Metrics(ctx, g.Store.Client, g.Store.Keys, clusterFields...)
	if err != nil {
		g.Log.Debug("a scrape went without what redis holds for all replicas", "error", err)
		return
	}
	for _, m := range cluster {
		v, err := strconv.ParseFloat(fields[m.field], 64)
		if err != nil {
			v = 0 // nothing has been counted yet
		}
		metrics <- prometheus.MustNewConstMetric(m.desc, m.kind, v*m.unit)
	}
}
