package metrics

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/upstream"
)

// family is a metric with a series for each tenant and another label. There may be a thousand tenants, so these series
// are most of a scrape: they are made in few pieces, in the order of their labels, whose names are sorted too. They do
// not go through the library's registry, which would check, hash and sort each.
type family struct {
	*dto.MetricFamily

	metrics  []dto.Metric
	counters []dto.Counter
	gauges   []dto.Gauge
	values   []float64
	labels   []*dto.LabelPair
}

func newFamily(name, help string, kind dto.MetricType, size int) *family {
	f := &family{
		MetricFamily: &dto.MetricFamily{
			Name: new("oncegate_" + name), Help: &help, Type: &kind, Metric: make([]*dto.Metric, 0, size),
		},
		metrics: make([]dto.Metric, size), values: make([]float64, size), labels: make([]*dto.LabelPair, 0, 2*size),
	}
	if kind == dto.MetricType_COUNTER {
		f.counters = make([]dto.Counter, size)
	} else {
		f.gauges = make([]dto.Gauge, size)
	}
	return f
}

// add adds a series. There must be room for it.
func (f *family) add(value float64, labels ...*dto.LabelPair) {
	i, from := len(f.Metric), len(f.labels)
	m := &f.metrics[i]
	f.labels = append(f.labels, labels...)
	m.Label = f.labels[from:len(f.labels):len(f.labels)]
	f.values[i] = value
	if f.counters != nil {
		m.Counter = &f.counters[i]
		m.Counter.Value = &f.values[i]
	} else {
		m.Gauge = &f.gauges[i]
		m.Gauge.Value = &f.values[i]
	}
	f.Metric = append(f.Metric, m)
}

// ofRequests makes the series of each tenant that has had a request.
func ofRequests(of map[string]gate.Share) []*dto.MetricFamily {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(of)), func(name string) bool {
		return name != Nameless && of[name].Counts == (link.Totals{})
	})
	shares, tenants := make([]gate.Share, len(names)), make([]*dto.LabelPair, len(names))
	for i, name := range names {
		shares[i], tenants[i] = of[name], pair("tenant", name)
	}
	requests := newFamily("requests_total", "Requests, by what each became.", dto.MetricType_COUNTER,
		len(byOutcome)*len(names))
	for _, o := range byOutcome {
		for i := range shares {
			var n int64
			for _, kind := range o.kinds {
				n += shares[i].Counts[kind]
			}
			requests.add(float64(n), o.label, tenants[i])
		}
	}
	ended := newFamily("executions_total", "Executions that ended, by how.", dto.MetricType_COUNTER,
		len(byEnding)*len(names))
	for _, e := range byEnding {
		for i := range shares {
			ended.add(float64(shares[i].Ended[e.how]), e.label, tenants[i])
		}
	}
	return []*dto.MetricFamily{requests.MetricFamily, ended.MetricFamily}
}

// ofBackends makes the series of each tenant's backend.
func ofBackends(of map[string]upstream.Snapshot) []*dto.MetricFamily {
	codes := 0
	for _, s := range of {
		codes += len(s.Codes)
	}
	requests := newFamily("upstream_requests_total", "Requests to the backend, by status; error: no answer came.",
		dto.MetricType_COUNTER, codes)
	open := newFamily("breaker_open", "1: the backend gets no requests (circuit breaker, or it asked for a pause).",
		dto.MetricType_GAUGE, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		s, tenant := of[name], pair("tenant", name)
		for _, code := range slices.Sorted(maps.Keys(s.Codes)) {
			named := "error"
			if code > 0 {
				named = strconv.Itoa(code)
			}
			requests.add(float64(s.Codes[code]), pair("code", named), tenant)
		}
		open.add(number(s.BreakerOpen), tenant)
	}
	slices.SortStableFunc(requests.Metric, func(a, b *dto.Metric) int {
		return strings.Compare(a.Label[0].GetValue(), b.Label[0].GetValue())
	})
	return slices.DeleteFunc([]*dto.MetricFamily{requests.MetricFamily, open.MetricFamily},
		func(f *dto.MetricFamily) bool { return len(f.Metric) == 0 })
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// byOutcome and byEnding are in the order of their labels.
var (
	byOutcome = requestsByOutcome()
	byEnding  = endings()
)

type outcome struct {
	label *dto.LabelPair
	kinds []link.Kind
}

func requestsByOutcome() (all []outcome) {
	for _, o := range requestOutcomes {
		all = append(all, outcome{pair("outcome", o.outcome), o.kinds})
	}
	slices.SortFunc(all, func(a, b outcome) int { return strings.Compare(*a.label.Value, *b.label.Value) })
	return all
}

type ending struct {
	label *dto.LabelPair
	how   gate.Ending
}

func endings() (all []ending) {
	for _, e := range gate.Endings() {
		all = append(all, ending{pair("result", strings.ReplaceAll(e.String(), " ", "_")), e})
	}
	slices.SortFunc(all, func(a, b ending) int { return strings.Compare(*a.label.Value, *b.label.Value) })
	return all
}
