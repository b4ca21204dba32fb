package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oncegate/oncegate/internal/redis"
)

// clusterMetric is a field of the metrics hash in the form that Prometheus gets.
type clusterMetric struct {
	field string
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	unit  float64 // of the field, in the metric's unit
}

func counter(field, name, help string) clusterMetric {
	return clusterMetric{field, describe("cluster_"+name+"_total", help), prometheus.CounterValue, 1}
}

func gauge(field, name, help string, unit float64) clusterMetric {
	return clusterMetric{field, describe("cluster_"+name, help), prometheus.GaugeValue, unit}
}

// cluster has the fields that this version knows. Other fields of the hash are left out, so that nobody who writes
// there makes metrics.
var cluster = []clusterMetric{
	counter("total_requests", "requests", "Webhooks with a valid payload."),
	counter("duplicates", "duplicates", "Requests for a webhook that another request had brought before."),
	counter("replayed", "replayed", "Of the duplicates: found the result."),
	counter("replayed_local", "replayed_local", "Of these: without a round trip."),
	counter("waited", "waited", "Of the duplicates: waited for the execution and got its outcome."),
	counter("still_processing", "still_processing", "Of the duplicates: waited in vain."),
	counter("mismatches", "mismatches", "Of the duplicates: another body than the first one."),
	counter("late_answers", "late_answers", "First callers who were told that their webhook is still processing."),
	counter("unavailable", "unavailable", "Requests that were neither executed nor a duplicate: 503, or 500."),
	counter("refused", "refused", "Of these: nothing may be executed at the moment."),
	counter("overloaded", "overloaded", "Of these: beyond MAX_EXECUTIONS or MAX_WAITERS."),
	counter("limited", "limited", "Of these: beyond a tenant's executions_per_second."),
	counter("poisoned", "poisoned", "Of these: executed no more after MAX_ATTEMPTS failures."),
	counter("doubtful", "doubtful", "Of these: in doubt, with IN_DOUBT=stop."),
	counter("malformed", "malformed", "Requests that became no webhook: 400."),
	counter("unauthorized", "unauthorized", "Requests that became no webhook: 401."),
	counter("forbidden", "forbidden", "Requests that became no webhook: 403."),
	counter("unsigned", "unsigned", "Requests that became no webhook: their signature was missing or wrong."),
	counter("unknown_tenants", "unknown_tenants", "Requests that became no webhook: for a tenant that is none."),
	counter("executed", "executed", "Executions that started."),
	counter("takeovers", "takeovers", "Of these: after an earlier one had crashed or lost Redis for LOCK_TTL."),
	counter("stored", "stored", "Executions that ended with a result."),
	counter("reconciled", "reconciled", "Of these: the backend was only asked."),
	counter("failed", "failed", "Executions that ended without a result that is kept."),
	counter("lost_stores", "lost_stores", "Executions that ended after a later one had begun."),
	counter("rejected", "rejected", "Final refusals (4xx)."),
	counter("lost_leases", "lost_leases", "Running executions that found out that a later one had begun."),
	counter("settlings", "settlings", "First starts, failovers and restarts of Redis, FLUSHALL."),
	counter("restored", "restored", "Records put back after Redis had forgotten them."),
	counter("orphans_cleared", "orphans_cleared", "Records without a TTL that were given one."),
	gauge("active_fingerprints", "records", "Webhooks that Redis has a record of, as of the last sweep.", 1),
	gauge("in_progress", "in_progress", "Of these: without an outcome yet.", 1),
	gauge("overdue", "overdue", "Of these: for longer than EXECUTION_TIMEOUT.", 1),
	gauge("undecided", "undecided", "Of the records: poisoned or doubtful, until a person decides.", 1),
	gauge("detection_rate", "detection_rate", "Share of duplicates among all requests, 0 to 1.", 1),
	gauge("swept_at", "swept_timestamp_seconds", "When the last sweep ended.", 1),
	gauge("settled_at", "settled_timestamp_seconds", "Until when nothing new is decided since Redis lost its history.",
		1e-3),
	gauge("breaker_open_until", "breaker_open_until_timestamp_seconds", "Until when a circuit breaker is or was open.", 1),
}

// clusterFields are the fields that are read from the hash. The hash may hold many more, of tenants.
var clusterFields = func() []string {
	fields := []string{redis.History}
	for _, m := range cluster {
		fields = append(fields, m.field)
	}
	return fields
}()
