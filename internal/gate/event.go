package gate

import (
	"slices"
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// Event is something that a person on call may want to look into.
type Event struct {
	At          time.Time               `json:"at"` // by Redis' clock
	Tenant      string                  `json:"tenant,omitempty"`
	Fingerprint fingerprint.Fingerprint `json:"fingerprint"`
	What        string                  `json:"what"` // failed, overtaken, not stored, poisoned or doubtful
	Attempt     int64                   `json:"attempt"`
	Reason      string                  `json:"reason"` // a word of a failed record
}

// maxEvents are kept.
const maxEvents = 50

// events are the last ones of a gate.
type events struct {
	mu   sync.Mutex
	last []Event // the newest one is last
}

func (e *events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.last) == maxEvents {
		e.last = slices.Delete(e.last, 0, 1)
	}
	e.last = append(e.last, event)
}

// Events returns the last ones, the newest first.
func (g *Gate) Events() []Event {
	g.meters.events.mu.Lock()
	defer g.meters.events.mu.Unlock()
	last := slices.Clone(g.meters.events.last)
	slices.Reverse(last)
	return last
}
