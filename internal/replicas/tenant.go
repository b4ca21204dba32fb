package replicas

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/oncegate/oncegate/internal/gate"
)

// mostTenants is how many tenants a line has: those with the most webhooks. A line is bounded in size.
const mostTenants = 64

// Share is what a replica reports about one tenant.
type Share struct {
	// Seconds are the last few in which something happened. Each has its time (Unix), how many webhooks arrived, and how
	// many executions began.
	Seconds   [][3]int64 `json:"seconds,omitempty"`
	Waiting   int64      `json:"waiting,omitempty"`
	Executing int64      `json:"executing,omitempty"`
	OldestMS  int64      `json:"oldest_ms,omitempty"`
	Backend   *Exchange  `json:"backend,omitempty"` // nil: its logic is no backend; of another replica also: a quiet one
}

// isEmpty reports whether there is nothing to report.
func (s *Share) isEmpty() bool {
	return len(s.Seconds) == 0 && s.Waiting == 0 && s.Executing == 0 && s.Backend.isQuiet()
}

// arrived returns how many webhooks arrived in the last few seconds.
func (s *Share) arrived() (n int64) {
	for _, of := range s.Seconds {
		n += of[1]
	}
	return n
}

// tenantWindow keeps the last seconds of a tenant, added up over replicas.
type tenantWindow struct {
	seconds [Window]struct {
		at                  int64
		arrived, executions int32
	}
}

func (w *tenantWindow) add(s [3]int64) {
	slot := &w.seconds[s[0]%Window]
	switch {
	case slot.at > s[0]:
		return
	case slot.at < s[0]:
		slot.at, slot.arrived, slot.executions = s[0], 0, 0
	}
	slot.arrived, slot.executions = slot.arrived+int32(s[1]), slot.executions+int32(s[2])
}

// own is what a replica knows of a tenant from its own webhooks: its report, and how many had arrived and begun.
type own struct {
	Share
	arrivals, begun int64
}

// tenants is what is known of all tenants. The lock of the replicas guards it.
type tenants struct {
	own     map[string]*own
	windows map[string]*tenantWindow
}

// look adds what has happened to tenants until a second. At the first look nothing has happened.
func (t *tenants) look(
	shares map[string]gate.Share, exchanged map[string]*Exchange, second int64, first bool,
) {
	if t.own == nil {
		t.own, t.windows = make(map[string]*own), make(map[string]*tenantWindow)
	}
	for name, share := range shares {
		if name == "" {
			continue
		}
		o := t.own[name]
		if o == nil {
			o = new(own)
			t.own[name] = o
		}
		arrivals := max(o.arrivals, requests(&share)+share.Waiting)
		grown := [3]int64{second, arrivals - o.arrivals, share.Begun - o.begun}
		o.arrivals, o.begun, o.Waiting, o.Executing = arrivals, share.Begun, share.Waiting, share.Executing
		o.OldestMS, o.Backend = share.Oldest.Milliseconds(), exchanged[name]
		o.Seconds = slices.DeleteFunc(o.Seconds, func(s [3]int64) bool { return s[0] <= second-told })
		if first || grown[1] == 0 && grown[2] == 0 {
			continue
		}
		if last := len(o.Seconds) - 1; last >= 0 && o.Seconds[last][0] == second {
			o.Seconds[last][1] += grown[1]
			o.Seconds[last][2] += grown[2]
		} else {
			o.Seconds = append(o.Seconds, grown)
		}
		t.window(name).add(grown)
	}
}

func (t *tenants) window(name string) *tenantWindow {
	w := t.windows[name]
	if w == nil {
		w = new(tenantWindow)
		t.windows[name] = w
	}
	return w
}

// tell returns the report for the other replicas.
func (t *tenants) tell() map[string]Share {
	shares := make(map[string]Share)
	for name, o := range t.own {
		if o.isEmpty() {
			continue
		}
		share := o.Share
		if share.Seconds = slices.Clone(o.Seconds); share.Backend.isQuiet() {
			share.Backend = nil
		}
		shares[name] = share
	}
	if len(shares) <= mostTenants {
		return shares
	}
	names := slices.SortedFunc(maps.Keys(shares), func(a, b string) int {
		one, other := shares[a], shares[b]
		return cmp.Compare(other.arrived(), one.arrived())
	})
	for _, name := range names[mostTenants:] {
		delete(shares, name)
	}
	return shares
}

// take adds what another replica reports about tenants that are known here. Each second after after and up to before
// counts once.
func (t *tenants) take(shares map[string]Share, after, before int64) {
	for name, share := range shares {
		if t.own[name] == nil {
			continue
		}
		for _, s := range share.Seconds {
			if s[0] > after && s[0] < before {
				t.window(name).add(s)
			}
		}
	}
}

// OfTenant returns the whole for one tenant: the seconds that are kept, each with its time (Unix), how many webhooks
// arrived and how many were executed; and the report of each replica that is there.
func (r *Replicas) OfTenant(name string) (seconds [][3]int64, shares []Share) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.line.Wrote / 1000
	if w := r.tenants.windows[name]; w != nil {
		for at := max(now-Window+1, r.whole.first); at <= now; at++ {
			second := [3]int64{at}
			if s := &w.seconds[at%Window]; s.at == at {
				second[1], second[2] = int64(s.arrived), int64(s.executions)
			}
			seconds = append(seconds, second)
		}
	}
	if o := r.tenants.own[name]; o != nil {
		shares = append(shares, o.Share)
	}
	for _, o := range r.others {
		if share, told := o.line.Tenants[name]; told && time.Since(o.seen) <= silent*r.pace() {
			shares = append(shares, share)
		}
	}
	return seconds, shares
}
