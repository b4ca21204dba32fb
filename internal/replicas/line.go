package replicas

import (
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/hot"
	"github.com/oncegate/oncegate/internal/meter"
	"github.com/oncegate/oncegate/internal/upstream"
)

// Line is what a replica reports about itself. It holds no payload and no identity of a webhook.
type Line struct {
	ID      string `json:"id"`   // of the process, random
	Name    string `json:"name"` // host and process number
	Address string `json:"address"`
	Version string `json:"version"`
	Started int64  `json:"started"` // Unix seconds, by Redis' clock, like all times here
	Wrote   int64  `json:"wrote"`   // Unix milliseconds

	Seconds []Second `json:"seconds"` // the last few, so that a late reader misses none

	Tenants map[string]Share `json:"tenants,omitempty"` // those with the most webhooks

	Waiting   int64 `json:"waiting"`
	Executing int64 `json:"executing"`
	OldestMS  int64 `json:"oldest_ms"` // how long the oldest running execution has run; 0: none runs

	Ready         bool `json:"ready"` // it serves webhooks
	RedisUp       bool `json:"redis_up"`
	RefusesWrites bool `json:"refuses_writes"`

	ReplayCacheBytes int64 `json:"replay_cache_bytes"`
	JournalBytes     int64 `json:"journal_bytes"`

	// Histograms of the last minute, without empty cells.
	Latency   map[string]Cells `json:"latency"`    // by outcome
	RedisCall Cells            `json:"redis_call"` // seconds
	GroupSize Cells            `json:"group_size"`
	Backend   *Exchange        `json:"backend"` // null: the logic is no backend
}

// Detail is the part that a replica reports only for viewers: its own hot list and recent events.
type Detail struct {
	ID     string       `json:"id"`
	Hot    []hot.Item   `json:"hot"`
	Events []gate.Event `json:"events"`
}

// Cells has the cells of a histogram that are not empty, by their index.
type Cells map[int]uint64

func cellsOf(r *meter.Reading) Cells {
	c := make(Cells)
	for i, n := range r.Cells {
		if n > 0 {
			c[i] = n
		}
	}
	return c
}

// Reading makes a histogram of the cells, without a sum.
func (c Cells) Reading() (r meter.Reading) {
	for i, n := range c {
		if i >= 0 && i < meter.Cells {
			r.Cells[i] += n
			r.Count += n
		}
	}
	return r
}

// Observation is everything that is read from a gateway once a second.
type Observation struct {
	Gate     gate.Snapshot
	Took     map[string]meter.Reading     // by outcome, since the start
	Backends map[string]upstream.Snapshot // by tenant
	Hot      []hot.Item
	Events   []gate.Event
	Now      int64 // Unix milliseconds, by Redis' clock
}
