package verdict

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is a scrape: 7 executed, 3 of them of a tenant, 5 replayed and 2 malformed.
const page = `# TYPE oncegate_requests_total counter
oncegate_requests_total{outcome="executed",tenant=""} 4
oncegate_requests_total{outcome="executed",tenant="acme"} 3
oncegate_requests_total{outcome="replayed",tenant=""} 5
oncegate_requests_total{outcome="malformed",tenant=""} 2
oncegate_executions_total{result="stored",tenant=""} 4
oncegate_executions_total{result="stored",tenant="acme"} 3
oncegate_execution_duration_seconds_count 7
oncegate_replay_cache_hits_total 4
oncegate_replay_cache_misses_total 1
oncegate_request_duration_seconds_count{outcome="executed"} 7
oncegate_request_duration_seconds_count{outcome="replayed"} 5
oncegate_cluster_requests_total 12
oncegate_cluster_executed_total 7
oncegate_cluster_stored_total 7
oncegate_cluster_duplicates_total 5
oncegate_cluster_replayed_total 5
oncegate_cluster_replayed_local_total 4
oncegate_cluster_malformed_total 2
process_cpu_seconds_total 1.5
`

// told has the reports of two replicas, of which one has done nothing.
func told(t *testing.T) map[string]int64 {
	t.Helper()
	_, hash, _ := strings.Cut(page, "oncegate_cluster_")
	var urls []string
	for _, text := range []string{page, "oncegate_cluster_" + hash} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(text))
		}))
		t.Cleanup(server.Close)
		urls = append(urls, server.URL)
	}
	sums, err := Book{Scrapes: urls}.scrape(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// TestEachCounterAndItsTwinAreCompared: one that moves alone is found, in the hash, in a scrape and in the answers.
func TestEachCounterAndItsTwinAreCompared(t *testing.T) {
	hash := map[string]int64{"total_requests": 12, "executed": 7, "stored": 7, "duplicates": 5, "replayed": 5,
		"replayed_local": 4, "malformed": 2, "acme/total_requests": 3, "acme/executed": 3, "acme/stored": 3}
	sums := told(t)
	judge := func(tenant string, hash, sums, answers map[string]int64) Finding {
		c := Case{Tenant: tenant, Ledger: &Ledger{outcomes: answers, malformed: 2}}
		if tenant != "" {
			c.malformed = 0
		}
		return c.metrics(Counters{counts: hash, scraped: sums}.Of(tenant))
	}
	answers := map[string]int64{"executed": 7, "replayed": 5}
	for tenant, of := range map[string]map[string]int64{"": answers, "acme": {"executed": 3}} {
		if f := judge(tenant, hash, sums, of); !f.Held {
			t.Errorf("of tenant %q: %s", tenant, f.Text)
		}
	}
	one := func(of map[string]int64, name string) map[string]int64 {
		changed := maps.Clone(of)
		changed[name]++
		return changed
	}
	for _, field := range counted {
		if judge("", one(hash, field), sums, answers).Held {
			t.Errorf("%s moves alone in the hash, and all is well", field)
		}
		if judge("", hash, one(sums, inCluster(field)), answers).Held {
			t.Errorf("%s moves alone, and all is well", inCluster(field))
		}
	}
	for _, twin := range slices.Concat(ofTenants, ofAll) {
		for _, name := range twin.series {
			if judge("", hash, one(sums, name), answers).Held {
				t.Errorf("%s moves alone in a scrape, and all is well", name)
			}
		}
	}
	for _, outcome := range []string{"executed", "replayed", "waited", "processing"} {
		if judge("", hash, sums, one(answers, outcome)).Held {
			t.Errorf("one more is answered %s, and all is well", outcome)
		}
	}
	for _, twin := range ofTenants {
		if judge("acme", one(hash, "acme/"+twin.field), sums, map[string]int64{"executed": 3}).Held {
			t.Errorf("%s of a tenant moves alone, and all is well", twin.field)
		}
	}
}

// TestWhatIsCountedIsWhatAllReplicasTellOfTheHash: it leaves out no counter of the hash that Prometheus gets, except
// those that no replica reports about itself.
func TestWhatIsCountedIsWhatAllReplicasTellOfTheHash(t *testing.T) {
	source, err := os.ReadFile("../../internal/metrics/cluster.go")
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, found := range regexp.MustCompile(`counter\("(\w+)", "(\w+)"`).FindAllSubmatch(source, -1) {
		field := string(found[1])
		if inCluster(field) != "cluster_"+string(found[2])+"_total" {
			t.Errorf("%s is told as %s", field, found[2])
		}
		if !slices.Contains([]string{"lost_leases", "settlings", "orphans_cleared"}, field) {
			fields = append(fields, field)
		}
	}
	if slices.Sort(fields); !slices.Equal(fields, slices.Sorted(slices.Values(counted))) {
		t.Errorf("the hash has %v, and the verdict compares %v", fields, counted)
	}
}
