package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/oncegate/oncegate/internal/replicas"
)

// Bounds of a stream.
const (
	mostStreams  = 64
	writeTimeout = 10 * time.Second
	feedEvery    = time.Second
	again        = 20 // seconds that are sent with each event: those of other replicas come late
)

// feed sends the state as server-sent events, one a second: the first one with all seconds that are kept.
func (d *Dashboard) feed(w http.ResponseWriter, r *http.Request) {
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
		text, err := json.Marshal(d.state(d.Replicas.Now() - seconds))
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

// once sends the state once.
func (d *Dashboard) once(w http.ResponseWriter, r *http.Request) {
	d.refresh(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(d.state(d.Replicas.Now() - replicas.Window)); err != nil {
		d.Log.Debug("the dashboard's state was not read to its end", "error", err)
	}
}
