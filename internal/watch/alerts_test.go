package watch_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/dashboard"
	"github.com/oncegate/oncegate/internal/upstream"
)

// read returns a file of the tree.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// matches returns the texts in the parentheses of a pattern, sorted, each once.
func matches(text, pattern string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestEachAlertFiresAndStaysSilent(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "../../deploy/prometheus/alerts.yaml"},
		{"test", "rules", "../../deploy/prometheus/alerts_test.yaml"},
	} {
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	alerts := matches(read(t, "deploy/prometheus/alerts.yaml"), `- alert: (\w+)`)
	tests := read(t, "deploy/prometheus/alerts_test.yaml")
	silent := matches(tests, `alertname: (\w+), exp_alerts: \[\]`)
	firing := matches(tests, `alertname: (\w+)\n +exp_alerts:\n`)
	if len(alerts) < 11 || !slices.Equal(firing, alerts) {
		t.Errorf("these fire in a test: %q\nof these alerts: %q", firing, alerts)
	}
	for _, a := range alerts {
		if !slices.Contains(silent, a) && a != "OncegateHistoryChurn" { // its silent series is beside the firing one
			t.Errorf("%s is never seen to be silent", a)
		}
	}
}

func TestTheStripTheAlertsAndTheRunbooksAreTheSame(t *testing.T) {
	alerts := matches(read(t, "deploy/prometheus/alerts.yaml"), `- alert: (\w+)`)
	runbooks := matches(read(t, "docs/runbooks.md"), `(?m)^## (\w+)$`)
	strip := dashboard.Alerts()
	slices.Sort(strip)
	if !slices.Equal(alerts, runbooks) || !slices.Equal(alerts, strip) {
		t.Errorf("alerts:   %q\nrunbooks: %q\nstrip:    %q", alerts, runbooks, strip)
	}
}

// TestAlertsAndGraphsAskForMetricsThatExist: a name that is gone makes an alert silent for ever.
func TestAlertsAndGraphsAskForMetricsThatExist(t *testing.T) {
	t.Parallel()
	u, err := upstream.New(upstream.Options{URL: "http://127.0.0.1:9", MaxResultBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	var l logic.Logic = u
	r := start(t, l, func(*config.Config) {})
	r.post("books", 1)
	scraped := r.get("/metrics")
	graphs := read(t, "deploy/grafana/oncegate.json")
	if !json.Valid([]byte(graphs)) {
		t.Error("the dashboard of Grafana is no JSON")
	}
	named := matches(read(t, "deploy/prometheus/alerts.yaml")+graphs, `\b(oncegate_\w+?)(?:_bucket)?\b[{ )\[\\]`)
	for _, name := range named {
		if !strings.Contains(scraped, "# TYPE "+name+" ") {
			t.Errorf("there is no metric %s", name)
		}
	}
	if len(named) < 15 {
		t.Errorf("only %q are named", named)
	}
}

// TestGraphsAreOfTheTenantThatIsChosen, if their metrics have a tenant; the others say that they are of all.
func TestGraphsAreOfTheTenantThatIsChosen(t *testing.T) {
	u, err := upstream.New(upstream.Options{URL: "http://127.0.0.1:9", MaxResultBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	r := start(t, u, func(c *config.Config) { tenants(c, "acme") })
	r.backends.Add("acme", u)
	r.postAs("acme-key", "/t/acme", "books")
	byTenant := matches(r.get("/metrics"), `(?m)^(oncegate_\w+)\{[^}]*\btenant="acme"`)
	if len(byTenant) < 4 {
		t.Errorf("only %q tell of tenants", byTenant)
	}
	var drawn struct {
		Templating struct {
			List []struct{ Name, Query, AllValue string }
		}
		Panels []struct {
			Title, Description string
			Targets            []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/grafana/oncegate.json")), &drawn); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(drawn.Templating.List, func(v struct{ Name, Query, AllValue string }) bool {
		return v.Name == "tenant" && strings.HasSuffix(v.Query, ", tenant)") && v.AllValue == ".*" // there may be none
	}) {
		t.Errorf("no tenant can be chosen: %+v", drawn.Templating.List)
	}
	for _, p := range drawn.Panels {
		filtered := 0
		for _, target := range p.Targets {
			for _, name := range matches(target.Expr, `\b(oncegate_\w+)\{`) {
				_, selector, _ := strings.Cut(target.Expr, name+"{")
				selector, _, _ = strings.Cut(selector, "}")
				filters := strings.Contains(selector, `tenant=~"$tenant"`)
				if filters != slices.Contains(byTenant, name) {
					t.Errorf("%s: %s is filtered by tenant: %v", p.Title, name, filters)
				}
				if filters {
					filtered++
				}
			}
		}
		if ofAll := strings.HasSuffix(p.Description, "Of all tenants."); ofAll != (filtered == 0) {
			t.Errorf("%s is filtered by tenant in %d places, and says %q", p.Title, filtered, p.Description)
		}
	}
}
