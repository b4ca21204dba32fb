package upstream

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/oncegate/oncegate/internal/meter"
)

// meters count the exchanges with the backend.
type meters struct {
	codes  [1000]atomic.Int64 // answers by status; 0: no answer came, or its status is no number of three digits
	lasted meter.Histogram    // seconds until the answer's head came
}

func (m *meters) count(began time.Time, response *http.Response) {
	m.lasted.ObserveSince(began)
	code := 0
	if response != nil && response.StatusCode >= 100 && response.StatusCode < len(m.codes) {
		code = response.StatusCode
	}
	m.codes[code].Add(1)
}

// Snapshot counts the exchanges with the backend since the start.
type Snapshot struct {
	Codes       map[int]int64 // answers by status; 0: none came
	Lasted      meter.Reading // seconds until the answer's head came
	BreakerOpen bool          // nothing is sent except a probe; or the backend asked for a pause
}

// Snapshot returns the counts of now.
func (u *Upstream) Snapshot() Snapshot {
	s := Snapshot{Codes: make(map[int]int64), Lasted: u.meters.lasted.Read(), BreakerOpen: u.pause.left() > 0}
	for code := range u.meters.codes {
		if n := u.meters.codes[code].Load(); n > 0 {
			s.Codes[code] = n
		}
	}
	if u.breaker != nil {
		s.BreakerOpen = s.BreakerOpen || u.breaker.circuit.State() != gobreaker.StateClosed
	}
	return s
}
