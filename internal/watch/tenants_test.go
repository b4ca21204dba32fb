package watch_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/top"
	"github.com/oncegate/oncegate/internal/upstream"
)

// tenants gives a gateway some, each with its name and -key as a key.
func tenants(c *config.Config, names ...string) {
	for _, name := range names {
		c.Tenants = append(c.Tenants, config.Tenant{
			Name: name, Door: config.Door{APIKeys: config.Secret(name + "-key")},
			HTTP: c.HTTP, Execution: c.Execution, Upstream: c.Upstream,
		})
	}
}

// choose chooses a tenant on the page; "": all.
func (w *window) choose(tenant string) {
	w.t.Helper()
	w.js(`(() => { const s = document.querySelector("#tenant"); s.value = "` + tenant +
		`"; s.dispatchEvent(new Event("change")); })()`)
}

// TestThePageIsAboutOneTenantWhereThatIsChosen: its deliveries and executions over all replicas, its hot list, its
// failures and its webhooks' pages, and nothing of another's.
func TestThePageIsAboutOneTenantWhereThatIsChosen(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var all []*replica
	for range 2 {
		all = append(all, start(t, logic.Func(func(ctx context.Context, w logic.Webhook) (logic.Result, error) {
			if w.NodeID == "fails" {
				return logic.Result{}, errors.New("it failed")
			}
			return variety(ctx, w)
		}), func(c *config.Config) {
			c.Redis.URL = config.Secret(server.URL())
			tenants(c, "acme", "beta", "quiet")
		}))
	}
	var sent sync.WaitGroup
	for i := range 60 {
		sent.Go(func() { all[i%2].postAs("acme-key", "/t/acme", "storm") })
		if i%6 == 0 {
			sent.Go(func() { all[i%2].postAs("beta-key", "/t/beta", "storm") })
		}
	}
	sent.Wait()
	all[1].postAs("beta-key", "/t/beta", "fails")

	of := func(tenant string) fingerprint.Fingerprint {
		return fingerprint.OfTenant(tenant, "cognigy", []byte("d"), []byte("storm"), []byte("1"))
	}
	w := openWindow(t)
	w.do(chromedp.Navigate(all[0].admin + "/"))
	w.shows("#deliveries", "71")
	w.shows("#hot", "acme · "+of("acme").Hex()[:12])
	w.shows("#hot", "beta · ")
	w.shows("#hot", "done")
	w.shows("#failures", "beta · ")
	expect := func(deliveries, executions, all string) {
		t.Helper()
		eventually(t, deliveries+" deliveries and "+executions+" executions", func() bool {
			return w.js(`["deliveries", "executions", "all"].map((id) => byId(id).textContent)`) ==
				deliveries+","+executions+","+all
		})
		eventually(t, "the bars add up to that", func() bool {
			return w.js(`bins.up.reduce((a, b) => a + b, 0) + " " + bins.down.reduce((a, b) => a + b, 0)`) ==
				deliveries+" -"+executions
		})
	}
	w.choose("acme")
	expect("60", "1", "60")
	w.shows("#failures", "none")
	w.picture("acme")
	w.do(sized(390, 844, "dark"))
	eventually(t, "it fits a phone, with the choice of a tenant", func() bool {
		return w.js(`document.documentElement.scrollWidth <= innerWidth && !byId("tenant").hidden &&
			["hot", "judged", "failures"].every((id) => byId(id).offsetWidth <= byId(id).parentElement.clientWidth)`) == "true"
	})
	w.picture("acme-phone")
	w.do(sized(1280, 860, "light"))
	hot := w.js(`byId("hot").textContent`)
	if !strings.Contains(hot, of("acme").Hex()[:12]) || strings.Contains(hot, of("beta").Hex()[:12]) {
		t.Errorf("acme's hot list is %s", hot)
	}
	w.choose("beta")
	expect("11", "2", "11")
	w.shows("#failures", "error")
	w.do(chromedp.Reload())
	expect("11", "2", "11") // the address names the tenant
	w.choose("")
	w.shows("#deliveries", "71")

	for _, r := range all {
		eventually(t, "another replica tells the same", func() bool {
			s := r.stateOf("acme")
			return s.Window.Deliveries == 60 && s.Window.Executions == 1 && s.Tenant == "acme" && len(s.Tenants) == 3
		})
	}
	t.Run("a terminal shows the same", func(t *testing.T) {
		shown := func(tenant string) (string, error) {
			var out strings.Builder
			err := top.Run(t.Context(), top.Options{URL: all[1].admin, Tenant: tenant, Once: true, Out: &out})
			return out.String(), err
		}
		text, err := shown("acme")
		if err != nil || !strings.Contains(text, "tenant acme: 60 deliveries arrived, 1 executed") ||
			!strings.Contains(text, "[all tenants] ") || !strings.Contains(text, "ANSWERS, ALL TENANTS") ||
			!strings.Contains(text, "acme: done") || strings.Contains(text, "beta") {
			t.Errorf("%v\n%s", err, text)
		}
		if _, err := shown("nobody"); err == nil || !strings.Contains(err.Error(), `no tenant "nobody"`) {
			t.Errorf("of a tenant that is none: %v", err)
		}
	})
	t.Run("a webhook's page is that of its tenant", func(t *testing.T) {
		w.do(chromedp.Navigate(all[0].admin + "/webhook/" + of("acme").Hex() + "?tenant=acme"))
		w.shows("dl", "acme")
		w.shows("dl", "gets this result, without an execution")
		w.do(chromedp.Navigate(all[0].admin + "/webhook?fingerprint=" + of("beta").Hex())) // the tenant is not given
		w.shows("dl", "beta")
		w.js(`document.querySelector("details.forget").open = true`)
		w.js(`document.querySelector("#forget").click()`)
		w.shows(".strip.well", "Forgotten.")
		w.shows("dl", "forgotten")
		w.do(chromedp.Navigate(all[0].admin + "/webhook/" + of("acme").Hex() + "?tenant=acme"))
		w.shows("dl", "gets this result")
		w.do(chromedp.Navigate(all[0].admin + "/webhook/" + of("acme").Hex() + "?tenant=beta"))
		w.shows(".strip", "Redis has no record of it")
	})
	w.expectQuiet(all[0].admin)
}

// TestTheBackendAndTheOldestExecutionAreThoseOfTheTenantThatIsChosen, over all replicas. Numbers of all tenants say so.
func TestTheBackendAndTheOldestExecutionAreThoseOfTheTenantThatIsChosen(t *testing.T) {
	server := redistest.Start(t)
	release := make(chan struct{})
	held := logic.Func(func(context.Context, logic.Webhook) (logic.Result, error) {
		<-release
		return logic.JSON(true)
	})
	var all []*replica
	for range 2 {
		all = append(all, start(t, held, func(c *config.Config) {
			c.Redis.URL = config.Secret(server.URL())
			tenants(c, "acme", "beta", "quiet")
		}))
	}
	exchange := func(r *replica, tenant string, code, times int) {
		backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		t.Cleanup(backend.Close)
		u, err := upstream.New(upstream.Options{
			URL: backend.URL, MaxResultBytes: 1024, BreakerFailures: 2, BreakerPause: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(u.Close)
		r.backends.Add(tenant, u)
		for range times {
			_, _ = u.Execute(t.Context(), logic.Webhook{})
		}
	}
	exchange(all[0], "acme", 200, 3)
	exchange(all[1], "acme", 200, 2)
	exchange(all[0], "beta", 500, 2) // which opens its circuit breaker
	exchange(all[1], "beta", 500, 1)
	var sent sync.WaitGroup
	sent.Go(func() { all[1].postAs("acme-key", "/t/acme", "held") })

	for tenant, want := range map[string]struct {
		codes map[string]int64
		open  int
	}{
		"": {map[string]int64{"200": 5, "500": 3}, 1}, "acme": {map[string]int64{"200": 5}, 0},
		"beta": {map[string]int64{"500": 3}, 1},
	} {
		for _, r := range all {
			eventually(t, "a replica shows the backend of "+tenant, func() bool {
				s := r.stateOf(tenant)
				return s.Backend != nil && maps.Equal(s.Backend.Codes, want.codes) && s.Backend.Open == want.open &&
					s.Backend.P50 > 0 && (s.OldestMS > 0) == (tenant != "beta")
			})
			if s := r.stateOf("quiet"); s.Backend != nil {
				t.Errorf("a tenant without a backend has %+v", s.Backend)
			}
		}
	}
	w := openWindow(t)
	w.do(sized(1280, 860, "light"), chromedp.Navigate(all[0].admin+"/"))
	w.shows("#backend", "200: 5, 500: 3")
	const labelled = `[...document.querySelectorAll("h2")].filter((h) =>
		getComputedStyle(h, "::after").content.includes("all tenants")).map((h) => h.textContent)`
	if of := w.js(labelled); of != "" {
		t.Errorf("without a choice it is said of %s that it is all tenants'", of)
	}
	w.choose("beta")
	w.shows("#backend", "open on 1 replica")
	w.shows("#verdicts .bad small", "all tenants")
	if answers := w.js(`byId("backend").textContent`); strings.Contains(answers, "200") {
		t.Errorf("beta's backend is said to have answered %s", answers)
	}
	if of := w.js(labelled); of != "Answers in the last minute,Redis,Replicas" {
		t.Errorf("it is said of %s that it is all tenants'", of)
	}
	w.picture("beta-wide")
	w.do(sized(390, 844, "dark"))
	eventually(t, "it fits a phone", func() bool {
		return w.js(`document.documentElement.scrollWidth <= innerWidth && plot.width < 390`) == "true"
	})
	w.picture("beta-phone")
	w.choose("quiet")
	w.shows("#backend", "there is no backend")
	w.shows("#failures", "none among the latest of all tenants")
	w.choose("acme")
	w.shows("#backend", "200: 5")
	w.shows("#backend", "closed")
	close(release)
	sent.Wait()
	w.expectQuiet(all[0].admin)
}

// TestATenantThatIsGoneHasNoCircuitBreaker: an alert for it would never end.
func TestATenantThatIsGoneHasNoCircuitBreaker(t *testing.T) {
	t.Parallel()
	var c config.Config
	r := start(t, logic.Echo{}, func(own *config.Config) {
		tenants(own, "acme", "beta")
		c = *own
	})
	for _, name := range []string{"acme", "beta"} {
		u, err := upstream.New(upstream.Options{
			URL: "http://127.0.0.1:1", MaxResultBytes: 1024, BreakerFailures: 1, BreakerPause: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		r.backends.Add(name, u)
		_, _ = u.Execute(t.Context(), logic.Webhook{})
	}
	if m := r.metrics(); m["oncegate_breaker_open{acme}"] != 1 || m["oncegate_breaker_open{beta}"] != 1 {
		t.Fatalf("at first: %v", m)
	}
	c.Tenants = c.Tenants[1:]
	if err := r.gateway.Reload(c); err != nil {
		t.Fatal(err)
	}
	m := r.metrics()
	if _, there := m["oncegate_breaker_open{acme}"]; there || m["oncegate_breaker_open{beta}"] != 1 {
		t.Errorf("without acme: %v", m)
	}
	if s := r.state(); len(s.Tenants) != 1 || s.Tenants[0] != "beta" {
		t.Errorf("the page offers %v", s.Tenants)
	}
}
