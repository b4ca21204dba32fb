package metrics

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/link"
)

// series is one counter of many of a name, whose labels are shared, and sorted by their names.
type series struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	n      int64
}

func (s series) Desc() *prometheus.Desc { return s.desc }

func (s series) Write(out *dto.Metric) error {
	out.Label, out.Counter = s.labels, &dto.Counter{Value: new(float64(s.n))}
	return nil
}

// collectTenants tells of each tenant for which something has come. There may be a thousand, so that this is most of a
// scrape: in the order of their labels they need not be sorted.
func collectTenants(metrics chan<- prometheus.Metric, of map[string]gate.Share) {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(of)), func(name string) bool {
		return name != Nameless && of[name].Counts == (link.Totals{})
	})
	shares, tenants := make([]gate.Share, len(names)), make([]*dto.LabelPair, len(names))
	for i, name := range names {
		shares[i], tenants[i] = of[name], pair("tenant", name)
	}
	for _, o := range byOutcome {
		for i := range names {
			var n int64
			for _, kind := range o.kinds {
				n += shares[i].Counts[kind]
			}
			metrics <- series{requests, []*dto.LabelPair{o.label, tenants[i]}, n}
		}
	}
	for _, e := range byEnding {
		for i := range names {
			metrics <- series{ended, []*dto.LabelPair{e.label, tenants[i]}, shares[i].Ended[e.how]}
		}
	}
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
