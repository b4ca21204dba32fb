package gate

import (
	"fmt"
	"testing"
)

func TestATenantWithManyEventsDoesNotPushOutThoseOfOthers(t *testing.T) {
	var e events
	add := func(tenant string, n int) {
		for i := range n {
			e.add(Event{Tenant: tenant, Attempt: int64(i + 1)})
		}
	}
	add("quiet", 1)
	add("some", 3)
	add("noisy", 1000)
	add("loud", 1000)
	add("quiet", 1)
	kept := make(map[string][]int64)
	for _, of := range e.last {
		kept[of.Tenant] = append(kept[of.Tenant], of.Attempt)
	}
	for tenant, want := range map[string]struct {
		n      int
		newest int64
	}{"quiet": {2, 1}, "some": {3, 3}, "noisy": {22, 1000}, "loud": {22, 1000}} {
		if got := kept[tenant]; len(got) != want.n || got[0] != want.newest {
			t.Errorf("of %s there are %v, want %d, the newest one %d", tenant, got, want.n, want.newest)
		}
	}
	if len(e.last) > maxEvents {
		t.Errorf("%d are kept", len(e.last))
	}

	e = events{}
	for i := range 200 {
		add(fmt.Sprint(i), 3)
	}
	if len(e.last) != maxEvents || e.last[0].Tenant != "199" {
		t.Errorf("of many tenants %d are kept, the newest one of %s", len(e.last), e.last[0].Tenant)
	}
}
