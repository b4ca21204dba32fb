package metrics

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/link"
)

// ofTenants collects what tenants have, and nothing else.
type ofTenants map[string]gate.Share

func (ofTenants) Describe(d chan<- *prometheus.Desc)          { d <- requests; d <- ended }
func (of ofTenants) Collect(metrics chan<- prometheus.Metric) { collectTenants(metrics, of) }

// TestTenantsComeInTheOrderOfTheirLabels, so that the library need not sort them.
func TestTenantsComeInTheOrderOfTheirLabels(t *testing.T) {
	metrics := make(chan prometheus.Metric, 1000)
	collectTenants(metrics, ofTenants{"b": {Counts: link.Totals{1}}, "a": {Counts: link.Totals{1}}, Nameless: {}})
	close(metrics)
	var names, labels []string
	for m := range metrics {
		var out dto.Metric
		if err := m.Write(&out); err != nil {
			t.Fatal(err)
		}
		for _, l := range out.Label {
			names = append(names, l.GetName())
		}
		labels = append(labels, m.Desc().String()+out.Label[0].GetValue()+" "+out.Label[1].GetValue())
	}
	of := slices.Index(names, "result") / 2 // the first of another name
	if len(labels) != 3*21 || !slices.IsSorted(labels[:of]) || !slices.IsSorted(labels[of:]) {
		t.Errorf("%d of them, in the order %v and %v", len(labels), labels[:of], labels[of:])
	}
}

// BenchmarkScrape is what Prometheus costs a gateway of many tenants.
func BenchmarkScrape(b *testing.B) {
	of := make(ofTenants)
	for i := range 500 {
		of[fmt.Sprintf("tenant-%d", i)] = gate.Share{Counts: link.Totals{link.Executed: 17}}
	}
	r := prometheus.NewRegistry()
	r.MustRegister(of)
	page := promhttp.HandlerFor(r, promhttp.HandlerOpts{EnableOpenMetrics: true})
	for _, encoding := range []string{"identity", "gzip"} {
		b.Run(encoding, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				asked := httptest.NewRequest("GET", "/metrics", nil)
				asked.Header.Set("Accept-Encoding", encoding)
				page.ServeHTTP(httptest.NewRecorder(), asked)
			}
		})
	}
}
