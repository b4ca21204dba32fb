package verdict

import (
	"fmt"
	"slices"
)

// twin is a counter in the hash that replicas also report to Prometheus, as series that are added up.
type twin struct {
	field  string
	series []string // as in Counters.scraped
}

func requests(outcomes ...string) []string { return labelled("requests_total/", outcomes) }
func results(of ...string) []string        { return labelled("executions_total/", of) }

func labelled(name string, values []string) (series []string) {
	for _, v := range values {
		series = append(series, name+v)
	}
	return series
}

// ofTenants are reported for each tenant, and ofAll for all together.
var (
	ofTenants = []twin{
		{"total_requests", requests("executed", "replayed", "waited", "still_processing", "unavailable", "refused",
			"limited", "overloaded", "poisoned", "doubtful")},
		{"executed", requests("executed")},
		{"duplicates", requests("replayed", "waited", "still_processing")},
		{"replayed", requests("replayed")},
		{"waited", requests("waited")},
		{"still_processing", requests("still_processing")},
		{"unavailable", requests("unavailable", "refused", "limited", "overloaded", "poisoned", "doubtful")},
		{"refused", requests("refused")},
		{"limited", requests("limited")},
		{"overloaded", requests("overloaded")},
		{"poisoned", requests("poisoned")},
		{"doubtful", requests("doubtful")},
		{"malformed", requests("malformed")},
		{"unauthorized", requests("unauthorized")},
		{"forbidden", requests("forbidden")},
		{"unsigned", requests("unsigned")},
		{"unknown_tenants", requests("unknown_tenant")},
		{"stored", results("stored", "reconciled", "rejected")},
		{"reconciled", results("reconciled")},
		{"rejected", results("rejected")},
		{"failed", results("failed")},
		{"lost_stores", results("overtaken")},
	}
	ofAll = []twin{
		{"executed", []string{"execution_duration_seconds_count"}},
		{"replayed_local", []string{"replay_cache_hits_total"}},
		{"replayed", []string{"replay_cache_hits_total", "replay_cache_misses_total"}},
		{"takeovers", []string{"takeovers_total"}},
		{"late_answers", []string{"late_answers_total"}},
		{"mismatches", []string{"mismatches_total"}},
		{"restored", []string{"restored_total"}},
	}
)

// counted are the fields of the hash that the rules use: those that have a twin.
var counted = func() (fields []string) {
	for _, t := range slices.Concat(ofTenants, ofAll) {
		if !slices.Contains(fields, t.field) {
			fields = append(fields, t.field)
		}
	}
	return fields
}()

// inCluster returns the name under which replicas report a field of the hash itself.
func inCluster(field string) string {
	if field == "total_requests" {
		field = "requests"
	}
	return "cluster_" + field + "_total"
}

// strayed returns the twins that the replicas report differently from the hash.
func (c Counters) strayed(twins []twin) (faults []string) {
	for _, t := range twins {
		var told int64
		for _, name := range t.series {
			told += c.scraped[name]
		}
		if n := c.of(t.field); told != n {
			faults = append(faults, fmt.Sprintf("%s is %d, and Prometheus is told %d (%s)", t.field, n, told, t.series))
		}
	}
	return faults
}

// strayedFromHash returns the fields of the hash that the replicas report differently from the hash.
func (c Counters) strayedFromHash() (faults []string) {
	for _, field := range counted {
		if told, n := c.scraped[inCluster(field)], c.of(field); told != n {
			faults = append(faults, fmt.Sprintf("%s is %d, and Prometheus is told %d of it (%s)", field, n, told,
				inCluster(field)))
		}
	}
	return faults
}
