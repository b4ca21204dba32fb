package metrics

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/upstream"
)

// TestWhatTenantsHaveIsAsTheLibraryWantsIt, which does not check, hash and sort it.
func TestWhatTenantsHaveIsAsTheLibraryWantsIt(t *testing.T) {
	counts := link.Totals{link.Executed: 17}
	families := ofRequests(map[string]gate.Share{"b": {Counts: counts}, "a": {Counts: counts}, "quiet": {}, Nameless: {}})
	families = append(families, ofBackends(map[string]upstream.Snapshot{
		"b": {Codes: map[int]int64{200: 1, 0: 2, 503: 3}}, "a": {Codes: map[int]int64{200: 1}, BreakerOpen: true}, "c": {},
	})...)
	slices.SortFunc(families, byName)
	gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
	checked, err := prometheus.Gatherers{gather}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for i, f := range families {
		if got, want := f.String(), checked[i].String(); got != want {
			t.Errorf("it is\n%s\nwant\n%s", got, want)
		}
		series += len(f.Metric)
	}
	if want := 3*21 + 4 + 3; series != want {
		t.Errorf("they have %d series, want %d", series, want)
	}
	if none := ofBackends(nil); len(none) > 0 {
		t.Errorf("without a backend there is %v", none)
	}
}

// BenchmarkScrape measures the cost of a scrape for a gateway of many tenants.
func BenchmarkScrape(b *testing.B) {
	of := make(map[string]gate.Share)
	for i := range 1000 {
		of[fmt.Sprintf("tenant-%d", i)] = gate.Share{Counts: link.Totals{link.Executed: 17}}
	}
	gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return ofRequests(of), nil })
	page := page(gather)
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
