package watch

import (
	"sync"

	"github.com/oncegate/oncegate/internal/upstream"
)

// Backends are the backends that webhooks are forwarded to, by tenant. The zero value has none.
type Backends struct {
	inForce func(tenant string) bool // set before the first look

	mu       sync.Mutex
	byTenant map[string]*upstream.Upstream
}

// Add adds the backend of a tenant, in place of the one before.
func (b *Backends) Add(tenant string, u *upstream.Upstream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byTenant == nil {
		b.byTenant = make(map[string]*upstream.Upstream)
	}
	b.byTenant[tenant] = u
}

// Remove removes the backend of a tenant that has none any more.
func (b *Backends) Remove(tenant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byTenant, tenant)
}

// Snapshots returns the exchanges with each backend, by tenant. It leaves out tenants that a reload has removed: their
// circuit breakers would never close.
func (b *Backends) Snapshots() map[string]upstream.Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string]upstream.Snapshot, len(b.byTenant))
	for tenant, u := range b.byTenant {
		if b.inForce(tenant) {
			all[tenant] = u.Snapshot()
		}
	}
	return all
}
