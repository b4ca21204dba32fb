package dashboard

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/hot"
	"github.com/oncegate/oncegate/internal/meter"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/replicas"
)

// State is everything that the page, and oncegate top, show. It holds no payload, no key and no token.
type State struct {
	Now      int64     `json:"now"`    // Unix milliseconds, by Redis' clock
	Served   string    `json:"served"` // id of the replica that sends this
	Version  string    `json:"version"`
	Verdicts []Verdict `json:"verdicts"` // the gravest first; at least one

	// Tenants are the names of all tenants; null: there are none. Tenant is the tenant that the state is about; "": all.
	Tenants []string `json:"tenants"`
	Tenant  string   `json:"tenant"`

	Seconds [][3]int64 `json:"seconds"` // each: Unix seconds, deliveries, executions
	Window  Totals     `json:"window"`  // of the last 15 minutes
	All     Totals     `json:"all"`     // since the counters in Redis began

	Waiting   int64 `json:"waiting"`
	Executing int64 `json:"executing"`
	OldestMS  int64 `json:"oldest_ms"`

	Backend *Backend `json:"backend"` // null: the logic is no backend

	Latency  []Latency `json:"latency"` // of the last minute; like the fields below, of all tenants
	Redis    Redis     `json:"redis"`
	Replicas []Replica `json:"replicas"`

	Hot    []Hot   `json:"hot"`
	Judged []Event `json:"judged"`   // poisoned and doubtful
	Failed []Event `json:"failures"` // recent ones
}

// Totals are deliveries, and how many of them were executed.
type Totals struct {
	Deliveries int64 `json:"deliveries"`
	Executions int64 `json:"executions"`
}

// Latency is how long answers of one outcome took.
type Latency struct {
	Outcome string  `json:"outcome"`
	Count   uint64  `json:"count"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
}

// Redis is the state of Redis.
type Redis struct {
	Address   string  `json:"address"`
	History   string  `json:"history"`
	Since     int64   `json:"since"` // Unix milliseconds; 0: not known
	Settlings int64   `json:"settlings"`
	Restored  int64   `json:"restored"`
	Losses    int64   `json:"losses"` // suspected, in the last 15 minutes, over all replicas
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	GroupP50  float64 `json:"group_p50"`
	GroupMax  float64 `json:"group_max"`
	Records   int64   `json:"records"`
	Memory    string  `json:"memory"`
	Policy    string  `json:"policy"`
}

// Backend is the service that runs the logic, if webhooks are forwarded.
type Backend struct {
	P50   float64          `json:"p50_ms"`
	P99   float64          `json:"p99_ms"`
	Codes map[string]int64 `json:"codes"` // of the last minute
	Open  int              `json:"breaker_open"`
}

// Replica is one replica in the list.
type Replica struct {
	Name      string `json:"name"`
	Address   string `json:"address"`
	Version   string `json:"version"`
	Started   int64  `json:"started"`
	Rate      int64  `json:"rate"` // deliveries in its last whole second
	Waiting   int64  `json:"waiting"`
	Executing int64  `json:"executing"`
	Health    string `json:"health"`
}

// Hot is a webhook that gets many duplicates.
type Hot struct {
	Fingerprint string `json:"fingerprint"`
	Tenant      string `json:"tenant"`
	State       string `json:"state"`
	Attempt     int64  `json:"attempt"`
	Duplicates  uint64 `json:"duplicates"`
	Error       uint64 `json:"error"` // by how much the number may be too high
}

// Event is something that a person may want to look into.
type Event struct {
	At          int64  `json:"at"` // Unix milliseconds
	Tenant      string `json:"tenant"`
	Fingerprint string `json:"fingerprint"`
	What        string `json:"what"`
	Attempt     int64  `json:"attempt"`
	Reason      string `json:"reason"`
}

// Cluster is the part of what Redis holds for all replicas that rules need.
type Cluster struct {
	Overdue   int64
	Settled   time.Time // until when nothing new is decided
	Undecided int64     // poisoned or doubtful records that the last sweep found; -1: no sweep has told
	Swept     int64     // when that sweep ended, in Unix seconds
}

// state makes the state of all webhooks, with the seconds from a given one on.
func (d *Dashboard) state(from int64) State {
	v := d.Replicas.Since(0)
	slow := d.slow.Load()
	s := State{
		Now: v.Now, Served: v.ID, Version: d.Version, Redis: slow.redis, All: slow.all,
		Hot: slow.hot, Judged: slow.judged, Failed: slow.failed,
	}
	now := v.Now / 1000
	for _, of := range v.Seconds {
		if of[replicas.At] >= from {
			s.Seconds = append(s.Seconds, [3]int64{of[replicas.At], of[replicas.Deliveries], of[replicas.Executions]})
		}
	}
	sum := replicas.Sum(v.Seconds)
	s.Window = Totals{sum[replicas.Deliveries], sum[replicas.Executions]}
	s.Redis.Losses = sum[replicas.Losses]
	last := func(n int) replicas.Second { return replicas.Sum(v.Seconds[max(len(v.Seconds)-n, 0):]) }
	s.Verdicts = judge(&whole{View: v, last5m: last(300), last1m: last(60), cluster: slow.cluster,
		undecided: len(slow.judged), now: time.UnixMilli(v.Now)})
	s.addReplicas(v.Replicas, now)
	s.Tenants = d.Tenants()
	return s
}

// stateOf makes the state of one tenant. Data that is not kept by tenant, such as about Redis and the replicas, is of
// all.
func (d *Dashboard) stateOf(tenant string, from int64) State {
	s := d.state(from)
	if tenant == "" {
		return s
	}
	s.Tenant, s.Seconds, s.Window, s.All = tenant, nil, Totals{}, d.slow.Load().byTenant[tenant]
	seconds, shares := d.Replicas.OfTenant(tenant)
	s.Waiting, s.Executing, s.OldestMS = 0, 0, 0
	var exchanged exchanges
	for i := range shares {
		of := &shares[i]
		s.Waiting, s.Executing, s.OldestMS = s.Waiting+of.Waiting, s.Executing+of.Executing, max(s.OldestMS, of.OldestMS)
		exchanged.add(of.Backend)
	}
	s.Backend = exchanged.backend()
	for _, second := range seconds {
		s.Window.Deliveries, s.Window.Executions = s.Window.Deliveries+second[1], s.Window.Executions+second[2]
		if second[0] >= from {
			s.Seconds = append(s.Seconds, second)
		}
	}
	others := func(e Event) bool { return e.Tenant != tenant }
	s.Judged = slices.DeleteFunc(slices.Clone(s.Judged), others)
	s.Failed = slices.DeleteFunc(slices.Clone(s.Failed), others)
	s.Hot = slices.DeleteFunc(slices.Clone(s.Hot), func(h Hot) bool { return h.Tenant != tenant })
	return s
}

// addReplicas adds up what the replicas report.
func (s *State) addReplicas(seen []replicas.Seen, now int64) {
	latency := make(map[string]*meter.Reading)
	var calls, groups meter.Reading
	var exchanged exchanges
	for i := range seen {
		l := &seen[i]
		s.Replicas = append(s.Replicas, Replica{
			l.Name, l.Address, l.Version, l.Started, rate(l.Seconds, now), l.Waiting, l.Executing, health(l),
		})
		if l.Gone {
			continue
		}
		s.Waiting, s.Executing, s.OldestMS = s.Waiting+l.Waiting, s.Executing+l.Executing, max(s.OldestMS, l.OldestMS)
		for outcome, cells := range l.Latency {
			if latency[outcome] == nil {
				latency[outcome] = new(meter.Reading)
			}
			r := cells.Reading()
			latency[outcome].Add(&r)
		}
		c, g := l.RedisCall.Reading(), l.GroupSize.Reading()
		calls.Add(&c)
		groups.Add(&g)
		exchanged.add(l.Backend)
	}
	for outcome, r := range latency {
		s.Latency = append(s.Latency, Latency{outcome, r.Count, 1000 * r.Quantile(0.5), 1000 * r.Quantile(0.99)})
	}
	slices.SortFunc(s.Latency, func(a, b Latency) int { return cmp.Compare(b.Count, a.Count) })
	s.Redis.P50, s.Redis.P99 = 1000*calls.Quantile(0.5), 1000*calls.Quantile(0.99)
	s.Redis.GroupP50, s.Redis.GroupMax = groups.Quantile(0.5), groups.Quantile(1)
	s.Backend = exchanged.backend()
}

// exchanges adds up what replicas have exchanged with backends.
type exchanges struct {
	known  bool // there is a backend
	lasted meter.Reading
	codes  map[string]int64
	open   int // replicas whose circuit breaker is open
}

func (x *exchanges) add(of *replicas.Exchange) {
	if of == nil {
		return
	}
	lasted := of.Lasted.Reading()
	x.lasted.Add(&lasted)
	if !x.known {
		x.known, x.codes = true, make(map[string]int64)
	}
	for code, n := range of.Codes {
		name := "no answer"
		if code > 0 {
			name = strconv.Itoa(code)
		}
		x.codes[name] += n
	}
	if of.BreakerOpen {
		x.open++
	}
}

// backend returns the part of the exchanges that is shown.
func (x *exchanges) backend() *Backend {
	if !x.known {
		return nil
	}
	return &Backend{1000 * x.lasted.Quantile(0.5), 1000 * x.lasted.Quantile(0.99), x.codes, x.open}
}

// rate returns how many deliveries came in the last whole second.
func rate(seconds []replicas.Second, now int64) int64 {
	for _, second := range slices.Backward(seconds) {
		if at := second[replicas.At]; at < now && at > now-5 {
			return second[replicas.Deliveries]
		}
	}
	return 0
}

func health(l *replicas.Seen) string {
	switch {
	case l.Gone:
		return "gone"
	case !l.RedisUp:
		return "Redis does not answer"
	case l.RefusesWrites:
		return "Redis takes no writes"
	case l.Backend != nil && l.Backend.BreakerOpen:
		return "backend left alone"
	case !l.Ready:
		return "not ready"
	}
	return "well"
}

// slowly holds data that is read from Redis every few seconds, and only while somebody looks.
type slowly struct {
	redis          Redis
	all            Totals
	byTenant       map[string]Totals
	cluster        Cluster
	hot            []Hot
	judged, failed []Event
}

// mostHot is how many hot webhooks are shown.
const mostHot = 50

// readSlowly reads that data again. Data that cannot be read stays as it was.
func (d *Dashboard) readSlowly(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	next := *d.slow.Load()
	next.redis.Address = d.Store.Address
	if fields, err := redis.Metrics(ctx, d.Store.Client, d.Store.Keys); err == nil {
		n := func(field string) int64 {
			n, _ := strconv.ParseInt(fields[field], 10, 64)
			return n
		}
		next.all, next.byTenant = Totals{n("total_requests"), n("executed")}, make(map[string]Totals)
		for _, tenant := range d.Tenants() {
			next.byTenant[tenant] = Totals{n(tenant + "/total_requests"), n(tenant + "/executed")}
		}
		next.cluster = Cluster{n("overdue"), time.UnixMilli(n("settled_at")), n("undecided"), n("swept_at")}
		if fields["undecided"] == "" {
			next.cluster.Undecided = -1
		}
		next.redis.History, next.redis.Since = fields["history"], n("met_at")
		next.redis.Settlings, next.redis.Restored = n("settlings"), n("restored")
		next.redis.Records = n("active_fingerprints")
	}
	if !d.Store.Embedded {
		next.redis.Memory, next.redis.Policy = redis.Memory(ctx, d.Store.Client)
	}
	items, events := d.Replicas.Details(ctx)
	next.hot = d.describe(ctx, items[:min(len(items), mostHot)])
	next.judged, next.failed = nil, nil
	webhooks := make([]command.Owned, len(events))
	for i, e := range events {
		webhooks[i] = command.Owned{Tenant: e.Tenant, Fingerprint: e.Fingerprint}
	}
	heads := command.Heads(ctx, d.Store, webhooks)
	for i, e := range events {
		told := Event{e.At.UnixMilli(), e.Tenant, e.Fingerprint.Hex(), e.What, e.Attempt, e.Reason}
		decided := heads[i].State != "" && heads[i].Attempt != e.Attempt // a person's decision counts as an attempt
		switch {
		case e.What != "poisoned" && e.What != "doubtful":
			next.failed = append(next.failed, told)
		case !decided:
			next.judged = append(next.judged, told)
		}
	}
	d.slow.Store(&next)
}

// describe adds to each hot webhook the state of its record in Redis.
func (d *Dashboard) describe(ctx context.Context, items []hot.Item) []Hot {
	webhooks := make([]command.Owned, len(items))
	for i, item := range items {
		webhooks[i] = command.Owned{Tenant: item.Tenant, Fingerprint: item.Fingerprint}
	}
	heads := command.Heads(ctx, d.Store, webhooks)
	all := make([]Hot, len(items))
	for i, item := range items {
		all[i] = Hot{Fingerprint: item.Fingerprint.Hex(), Tenant: item.Tenant, Duplicates: item.Duplicates, Error: item.Error,
			State: heads[i].State, Attempt: heads[i].Attempt}
	}
	return all
}
