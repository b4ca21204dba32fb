package watch

import (
	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/hot"
	"github.com/oncegate/oncegate/internal/metrics"
	"github.com/oncegate/oncegate/internal/replicas"
	"github.com/oncegate/oncegate/internal/upstream"
)

// observer looks at a gateway, in one goroutine.
type observer struct {
	handler.Watch
	backends *Backends
	hot      hot.Summary
}

func (o *observer) look() replicas.Observation {
	now := o.Gate.Now()
	minute := now.Unix() / 60
	o.Gate.Hot().Take(func(e *hot.Entry, hits uint64) { o.hot.Add(e.Fingerprint, e.Tenant, hits, minute) })
	seen := replicas.Observation{
		Gate: o.Gate.Snapshot(), Took: metrics.Durations(o.Took), Hot: o.hot.Top(minute), Events: o.Gate.Events(),
		Now: now.UnixMilli(),
	}
	for _, s := range o.backends.Snapshots() {
		if seen.Backend == nil {
			seen.Backend = &upstream.Snapshot{Codes: make(map[int]int64)}
		}
		for code, n := range s.Codes {
			seen.Backend.Codes[code] += n
		}
		seen.Backend.Lasted.Add(&s.Lasted)
		seen.Backend.BreakerOpen = seen.Backend.BreakerOpen || s.BreakerOpen
	}
	return seen
}
