package watch

import (
	"sync"

	"github.com/oncegate/oncegate/internal/upstream"
)

// Backends are those that webhooks are forwarded to, by tenant. Its zero value has none.
type Backends struct {
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

// Snapshots returns what was exchanged with each, by tenant.
func (b *Backends) Snapshots() map[string]upstream.Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string]upstream.Snapshot, len(b.byTenant))
	for tenant, u := range b.byTenant {
		all[tenant] = u.Snapshot()
	}
	return all
}
