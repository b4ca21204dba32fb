package gate

import (
	"slices"
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// Event is an incident that a person on call may want to look into.
type Event struct {
	At          time.Time               `json:"at"` // by Redis' clock
	Tenant      string                  `json:"tenant,omitempty"`
	Fingerprint fingerprint.Fingerprint `json:"fingerprint"`
	What        string                  `json:"what"` // failed, overtaken, not stored, poisoned or doubtful
	Attempt     int64                   `json:"attempt"`
	Reason      string                  `json:"reason"` // a word of a failed record
}

// maxEvents is how many events are kept.
const maxEvents = 50

// events has the last events of a gate.
type events struct {
	mu   sync.Mutex
	last []Event // the newest one is first
}

func (e *events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = Fairly(slices.Insert(e.last, 0, event), maxEvents)
}

// Fairly keeps at most most of the events, whose first one is the newest. Each tenant keeps as many as any other, its
// newest ones, unless it has fewer: a tenant whose executions fail again and again does not push out those of others.
func Fairly(all []Event, most int) []Event {
	if len(all) <= most {
		return all
	}
	byTenant := make(map[string]int)
	for _, e := range all {
		byTenant[e.Tenant]++
	}
	each, kept := most+1, len(all)
	for kept > most && each > 1 {
		each, kept = each-1, 0
		for _, n := range byTenant {
			kept += min(n, each)
		}
	}
	clear(byTenant)
	all = slices.DeleteFunc(all, func(e Event) bool {
		byTenant[e.Tenant]++
		return byTenant[e.Tenant] > each
	})
	return all[:min(len(all), most)]
}

// Events returns the last events, the newest first.
func (g *Gate) Events() []Event {
	g.meters.events.mu.Lock()
	defer g.meters.events.mu.Unlock()
	return slices.Clone(g.meters.events.last)
}
