package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/oncegate/oncegate/internal/replicas"
)

// Bounds of a stream.
const (
	mostStreams  = 64
	writeTimeout = 10 * time.Second
	feedEvery    = time.Second
	again        = 20 // seconds in each event: those of other replicas come late
)

// feed sends the state as server-sent events, one a second. The first event has all seconds that are kept.
func (d *Dashboard) feed(w http.ResponseWriter, r *http.Request) {
	tenant, ok := d.chosen(w, r)
	if !ok {
		return
	}
	if d.watching.Add(1) > mostStreams {
		d.watching.Add(-1)
		http.Error(w, "as many watch as may", http.StatusServiceUnavailable)
		return
	}
	defer d.watching.Add(-1)
	stream := http.NewResponseController(w)
	_ = stream.SetReadDeadline(time.Time{}) // the stream ends when its reader goes
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprint(w, "retry: 1000\n\n")
	ticker := time.NewTicker(feedEvery)
	defer ticker.Stop()
	for seconds := int64(replicas.Window); ; seconds = again {
		d.refresh(r.Context())
		text, err := json.Marshal(d.stateOf(tenant, d.Replicas.Now()-seconds))
		if err != nil {
			d.Log.Error("the dashboard's state", "error", err)
			return
		}
		_ = stream.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil {
			return
		}
		if stream.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

// chosen returns the tenant that a request is about, or "" for all; it answers 404 if there is none of that name.
func (d *Dashboard) chosen(w http.ResponseWriter, r *http.Request) (tenant string, ok bool) {
	tenant = r.FormValue("tenant")
	if ok = tenant == "" || slices.Contains(d.Tenants(), tenant); !ok {
		http.Error(w, "there is no such tenant", http.StatusNotFound)
	}
	return tenant, ok
}

// once sends the state once.
func (d *Dashboard) once(w http.ResponseWriter, r *http.Request) {
	tenant, ok := d.chosen(w, r)
	if !ok {
		return
	}
	d.refresh(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(d.stateOf(tenant, d.Replicas.Now()-replicas.Window)); err != nil {
		d.Log.Debug("the dashboard's state was not read to its end", "error", err)
	}
}
