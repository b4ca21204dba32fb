package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/redis"
)

// group is one part of the table.
type group struct {
	title string
	about func(metrics map[string]string) string // the words after the title
	rows  []row
}

// row is one field of the metrics hash. A deeper row counts a part of what the row above it counts.
type row struct {
	depth   int
	field   string
	meaning string
}

var groups = []group{
	{"Requests", says("each is counted once, by what it first became"), []row{
		{0, "total_requests", "webhooks with a valid payload"},
		{1, "duplicates", "of a webhook that another request had brought before"},
		{2, "replayed", "found its result"},
		{3, "replayed_local", "without asking Redis"},
		{2, "waited", "waited for its execution and got the outcome"},
		{2, "still_processing", "waited in vain and were told to ask again"},
		{2, "mismatches", "had another body than the first one"},
		{1, "late_answers", "first callers told \"still processing\": the backend took longer than WAIT_TIMEOUT"},
		{1, "unavailable", "neither executed nor a duplicate: 503, to ask again, or 500, for a person to decide"},
		{2, "refused", "503: the backend refused connections or asked for a pause, or its circuit breaker was open"},
		{2, "overloaded", "503: MAX_EXECUTIONS ran, or MAX_WAITERS waited"},
		{2, "limited", "429: as many executions were begun as executions_per_second allows"},
		{2, "poisoned", "500: executions failed or crashed MAX_ATTEMPTS times"},
		{2, "doubtful", "500: an attempt may have had its effect, and IN_DOUBT is stop"},
	}},
	{"Turned away", says("requests that became no webhook"), []row{
		{0, "malformed", "400: the payload, or the HTTP around it, makes no sense"},
		{0, "forbidden", "403: their tenant does not let in who calls from there"},
		{0, "unknown_tenants", "404: for a tenant that is none"},
		{0, "unsigned", "401: their signature was missing or wrong"},
		{0, "unauthorized", "401: no key of INBOUND_API_KEYS was shown"},
	}},
	{"Executions", says("of the business logic"), []row{
		{0, "executed", "started"},
		{1, "takeovers", "after an earlier one had crashed, or had lost Redis for LOCK_TTL"},
		{1, "stored", "ended with a result"},
		{2, "reconciled", "only asked the backend what an earlier one had brought"},
		{1, "failed", "ended without one that is kept: executed again, unless poisoned or doubtful"},
		{1, "lost_stores", "ended after a later one had begun: their results were not accepted"},
		{1, "rejected", "refusals for good (4xx): stored or, with REJECTED_TTL=0, only told and failed"},
		{0, "lost_leases", "of running ones, found out that a later one had begun"},
	}},
	{"Backend", backend, nil},
	{"Redis", history, []row{
		{0, "settlings", "first starts, failovers, restarts of Redis, FLUSHALL: new work waited for SETTLE"},
		{0, "restored", "records put back after Redis had forgotten them"},
	}},
	{"Gauges", sweptAt, []row{
		{0, "active_fingerprints", "webhooks that Redis has a record of"},
		{1, "in_progress", "without an outcome yet: running, or left so by a crash"},
		{2, "overdue", "for longer than EXECUTION_TIMEOUT"},
		{1, "undecided", "poisoned or doubtful: not executed until a person decides"},
		{0, "orphans_cleared", "records without a TTL that were given one, so far"},
		{0, "detection_rate", "share of duplicates among all requests"},
	}},
}

// besides has the fields that no row shows: times, and what the script notes about Redis' history.
var besides = []string{"swept_at", "breaker_open_until", "pause_until", "history", "met_at", "settled_at", "settle"}

func says(text string) func(map[string]string) string {
	return func(map[string]string) string { return text }
}

func history(metrics map[string]string) string {
	met, err := strconv.ParseInt(metrics["met_at"], 10, 64)
	if err != nil || metrics["history"] == "" {
		return "nothing is noted yet of its restarts and failovers"
	}
	return fmt.Sprintf("without a restart or failover since %s (replication id %s)", date(time.UnixMilli(met)),
		plain(metrics["history"]))
}

// backend says whether replicas send requests to the backend. Every replica writes both times: one when its circuit
// breaker opens or a probe fails, the other when the backend asks for a pause (Retry-After).
func backend(metrics map[string]string) string {
	text := breaker(metrics)
	if until, ok := unixTime(metrics["pause_until"]); ok && time.Now().Before(until) {
		text += "; IT ASKED FOR A PAUSE: a replica sends it no requests until " + date(until)
	}
	return text
}

func breaker(metrics map[string]string) string {
	until, ok := unixTime(metrics["breaker_open_until"])
	switch {
	case !ok:
		return "no circuit breaker has opened"
	case time.Now().Before(until):
		return "CIRCUIT BREAKER OPEN: a replica sends it no requests until " + date(until)
	}
	return "its circuit breaker is closed, and was last open until " + date(until)
}

func unixTime(text string) (t time.Time, ok bool) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(seconds, 0), err == nil
}

func sweptAt(metrics map[string]string) string {
	at, ok := unixTime(metrics["swept_at"])
	if !ok {
		return "no sweep has ended yet"
	}
	return "swept at " + date(at)
}

// ErrNoDeployment says that no gateway has ever counted anything under this KEY_PREFIX.
var ErrNoDeployment = errors.New("no gateway has run with KEY_PREFIX")

func noDeployment(keys redis.Keys) error {
	return fmt.Errorf("%w %q: Redis has nothing at %s; give the gateway's own KEY_PREFIX, Redis and database",
		ErrNoDeployment, keys.Prefix(), keys.Metrics())
}

// inMilliseconds holds the times that the script writes, in milliseconds. All others are in seconds, as are all times
// in the JSON.
var inMilliseconds = []string{"met_at", "settled_at", "settle"}

// Stats prints the metrics hash as a table, or as one JSON object with numbers as numbers and all times in seconds. It
// shows a counter that was never increased as 0, and also shows fields that this version does not know. If the hash
// does not exist, the error is ErrNoDeployment.
func Stats(
	ctx context.Context, client rueidis.Client, keys redis.Keys, tenant string, out io.Writer, asJSON bool,
) error {
	metrics, err := redis.Metrics(ctx, client, keys)
	if err != nil {
		return err
	}
	if len(metrics) == 0 {
		return noDeployment(keys)
	}
	metrics = of(tenant, metrics)
	if asJSON {
		return object(out, metrics)
	}
	return table(out, metrics)
}

// of returns a tenant's counters, and the fields about Redis; without a tenant, the counters of all.
func of(tenant string, metrics map[string]string) map[string]string {
	found := map[string]string{}
	for field, value := range metrics {
		owner, name, named := strings.Cut(field, "/")
		switch {
		case !named && (tenant == "" || slices.Contains(besides, field)):
			found[field] = value
		case named && owner == tenant:
			found[name] = value
		}
	}
	return found
}

func table(out io.Writer, metrics map[string]string) error {
	parts := groups
	if unknown := others(metrics); len(unknown) > 0 {
		parts = append(slices.Clone(groups), group{"Others", says("this version knows nothing of them"), unknown})
	}
	var names, values int // widths
	for _, g := range parts {
		for _, r := range g.rows {
			names = max(names, len(r.name()))
			values = max(values, len(r.value(metrics)))
		}
	}
	var text strings.Builder
	for i, g := range parts {
		if i > 0 {
			text.WriteByte('\n')
		}
		fmt.Fprintf(&text, "%s: %s\n", g.title, g.about(metrics))
		for _, r := range g.rows {
			line := fmt.Sprintf("%-*s  %*s  %s", names, r.name(), values, r.value(metrics), r.meaning)
			text.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func (r row) name() string { return strings.Repeat("  ", r.depth+1) + plain(r.field) }

func (r row) value(metrics map[string]string) string {
	return plain(cmp.Or(metrics[r.field], "0"))
}

// others returns the fields that this version does not know.
func others(metrics map[string]string) []row {
	known := slices.Clone(besides)
	for _, g := range groups {
		for _, r := range g.rows {
			known = append(known, r.field)
		}
	}
	var unknown []row
	for _, field := range slices.Sorted(maps.Keys(metrics)) {
		if !slices.Contains(known, field) {
			unknown = append(unknown, row{field: field})
		}
	}
	return unknown
}

// number matches a text that is a number in JSON.
var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

func object(out io.Writer, metrics map[string]string) error {
	values := map[string]any{}
	for _, g := range groups {
		for _, r := range g.rows {
			values[r.field] = 0
		}
	}
	for field, text := range metrics {
		values[field] = text
		if number.MatchString(text) && field != "history" { // the history is an id, even if it has digits only
			values[field] = json.Number(text)
		}
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil && slices.Contains(inMilliseconds, field) {
			values[field] = float64(ms) / 1000
		}
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(values)
}
