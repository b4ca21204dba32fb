package handler

import (
	"crypto/sha256"
	"os"
	"reflect"
	"runtime"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/identity"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/internal/sweeper"
)

// tenants makes the tenants of a configuration. A tenant stays if neither its settings nor its files have changed: its
// connections, its circuit breaker and its memory stay with it.
func (g *Gateway) tenants(c *Config, before *door) (all []*tenant, err error) {
	for _, of := range c.All() {
		stamp := stampOf(&of)
		if t := before.find(of.Name); t != nil && t.stamp == stamp && reflect.DeepEqual(t.settings, of) {
			all = append(all, t)
			continue
		}
		t, err := g.tenant(of)
		if err != nil {
			return nil, of.Explain(err)
		}
		t.stamp = stamp
		all = append(all, t)
	}
	return all, nil
}

func (d *door) find(name string) *tenant {
	switch {
	case d == nil:
		return nil
	case name == "":
		return d.nameless
	}
	return d.byName[name]
}

// stampOf returns a digest of the files that a tenant's settings name, to tell whether they have changed.
func stampOf(t *Tenant) (stamp [sha256.Size]byte) {
	sum := sha256.New()
	for _, path := range []string{t.Execution.ResultKeyFile, t.Upstream.TLSCA, t.Upstream.TLSCert, t.Upstream.TLSKey} {
		text, _ := os.ReadFile(path) // the code that needs the file says why it cannot be read
		of := sha256.Sum256(text)
		sum.Write(of[:])
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// tenant makes a tenant of its settings. Its logic ends when no request and no execution has the tenant any more.
func (g *Gateway) tenant(of Tenant) (*tenant, error) {
	keys, err := seal.Load(of.Execution.ResultKeyFile, g.log)
	if err != nil {
		return nil, err
	}
	id, err := identity.Parse(of.HTTP.Identity)
	if err != nil {
		return nil, err
	}
	l, end, err := g.choose(&of)
	if err != nil {
		return nil, err
	}
	asks := rules(&of, l, keys)
	if asks.StopInDoubt && !asks.Asks {
		g.log.Warn("IN_DOUBT=stop, and nobody can be asked what became of an attempt in doubt: "+
			"each waits for a person (oncegate doubtful); set UPSTREAM_STATUS_URL if the backend has one", named(&of)...)
	}
	if gauger, ok := l.(logic.Gauger); ok {
		gauger.Gauges(g.gauge(of.Name))
	}
	t := newTenant(Options{
		Tenant: of.Name, Identity: id, Signature: of.Verifier(), Allow: of.Ranges(),
		ProcessingStatus: of.HTTP.ProcessingStatus, Passthrough: of.HTTP.ResponseMode == config.Passthrough,
		APIKeys: of.Keys(), ForwardHeaders: of.HTTP.Forwarded(), MaxBodyBytes: int(of.HTTP.MaxBodyBytes), Seal: keys,
		TrailFields: g.config.Trail.Paths(), Log: g.log,
	}, g.gate.Tenant(asks), l)
	t.settings = of
	runtime.AddCleanup(t, func(end func()) { end() }, end)
	return t, nil
}

// gauge returns a function that writes the numbers of a tenant's logic into the metrics hash.
func (g *Gateway) gauge(tenant string) func(field string, value int64) {
	if tenant == "" {
		return g.gate.Gauge
	}
	return func(field string, value int64) { g.gate.Gauge(tenant+"/"+field, value) }
}

// named returns the attributes that name a tenant in a log line.
func named(t *Tenant) []any {
	if t.Name == "" {
		return nil
	}
	return []any{"tenant", t.Name}
}

// rules returns a tenant's settings as the gate needs them.
func rules(t *Tenant, l logic.Logic, keys *seal.Keys) gate.Rules {
	e := &t.Execution
	r := gate.Rules{
		Name: t.Name, ResultTTL: e.ResultTTL, RejectedTTL: e.RejectedTTL, DoubtTTL: e.DoubtTTL,
		WaitTimeout: e.WaitTimeout, ExecutionTimeout: e.Timeout, MaxResultBytes: int(e.MaxResultBytes),
		MaxAttempts: e.MaxAttempts, MaxExecutions: e.MaxExecutions, MaxWaiters: e.MaxWaiters,
		RejectMismatch: e.Mismatch == config.MismatchReject, StopInDoubt: e.InDoubt == config.InDoubtStop,
		ExecutionsPerSecond: t.ExecutionsPerSecond, Burst: t.Burst, Seal: keys,
	}
	if asker, ok := l.(logic.Asker); ok {
		r.Asks = asker.Asks()
	}
	if admitter, ok := l.(logic.Admitter); ok {
		r.Admit = admitter.Admit
	}
	return r
}

// executions returns how many executions all tenants together may run at once. A tenant without a limit counts 0.
func (g *Gateway) executions() (sum int) {
	for _, t := range g.config.All() {
		sum += t.Execution.MaxExecutions
	}
	return sum
}

// waiters returns the largest number of requests that one tenant may have waiting at once.
func (g *Gateway) waiters() (most int) {
	for _, t := range g.config.All() {
		most = max(most, t.Execution.MaxWaiters)
	}
	return most
}

// limits returns the limits of tenants' records, for the sweeper.
func (g *Gateway) limits() map[string]sweeper.Limits {
	all := map[string]sweeper.Limits{}
	for name, t := range g.handler.door.Load().byName {
		e := t.settings.Execution
		all[name] = sweeper.Limits{ResultTTL: e.ResultTTL, DoubtTTL: e.DoubtTTL, ExecutionTimeout: e.Timeout}
	}
	return all
}
