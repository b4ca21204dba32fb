package handler

import (
	"maps"
	"slices"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/redis"
)

// Watch is the part of a running gateway that a person may look at, or a program that draws for one.
type Watch struct {
	Gate    *gate.Gate
	Store   *redis.Store
	Took    *gate.AnswerTimes
	Replica string // this process' name

	Ready   func() error                          // nil if webhooks are served, otherwise why not
	Tenants func() []string                       // the tenants of the file in force, in order
	Tenant  func(name string) (t Tenant, ok bool) // the tenant of this name; "": the settings of a gateway without tenants
}

// Watch returns the gateway's.
func (g *Gateway) Watch() Watch {
	return Watch{
		Gate: g.gate, Store: g.store, Took: &g.handler.took, Replica: processName(), Ready: g.handler.served,
		Tenants: func() []string { return slices.Sorted(maps.Keys(g.handler.door.Load().byName)) },
		Tenant:  g.tenantOf,
	}
}

// AtEnd has a function called when Serve has ended what it ran, while Redis can still be asked. It is called before
// Serve.
func (g *Gateway) AtEnd(f func()) { g.atEnd = f }

func (g *Gateway) tenantOf(name string) (t Tenant, ok bool) {
	if name == "" {
		t, _ = g.config.Of("") // it is always there
		return t, true
	}
	of := g.handler.door.Load().byName[name]
	if of == nil {
		return t, false
	}
	return of.settings, true
}
