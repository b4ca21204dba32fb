package watch

import (
	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/hot"
	"github.com/oncegate/oncegate/internal/metrics"
	"github.com/oncegate/oncegate/internal/replicas"
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
	return replicas.Observation{
		Gate: o.Gate.Snapshot(), Took: metrics.Durations(o.Took), Hot: o.hot.Top(minute), Events: o.Gate.Events(),
		Backends: o.backends.Snapshots(), Now: now.UnixMilli(),
	}
}
