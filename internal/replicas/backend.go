package replicas

import "github.com/oncegate/oncegate/internal/upstream"

// Exchange counts the exchanges with backends in the last minute.
type Exchange struct {
	Lasted      Cells         `json:"lasted,omitempty"` // seconds until an answer's head came
	Codes       map[int]int64 `json:"codes,omitempty"`  // answers by status; 0: none came
	BreakerOpen bool          `json:"breaker_open,omitempty"`
}

// isQuiet reports whether there is nothing to show.
func (e *Exchange) isQuiet() bool { return e == nil || len(e.Codes) == 0 && !e.BreakerOpen }

func (e *Exchange) add(other *Exchange) {
	for cell, n := range other.Lasted {
		e.Lasted[cell] += n
	}
	for code, n := range other.Codes {
		e.Codes[code] += n
	}
	e.BreakerOpen = e.BreakerOpen || other.BreakerOpen
}

// The marks of a backend: together they span the last minute.
const (
	markEvery = 10 // seconds
	mostMarks = 6
)

// marks are the readings of a backend's meters every ten seconds, the oldest first. If nothing has changed, a mark
// shares the reading before it.
type marks struct {
	of []*upstream.Snapshot
	at int64 // second of the last mark
}

// look returns the exchanges since the oldest mark.
func (m *marks) look(now *upstream.Snapshot, second int64) *Exchange {
	if len(m.of) == 0 || now.Lasted.Count < m.of[len(m.of)-1].Lasted.Count { // a reload has put another backend there
		m.of, m.at = []*upstream.Snapshot{{}}, second
	}
	if second-m.at >= markEvery {
		next := now
		if last := m.of[len(m.of)-1]; last.Lasted.Count == now.Lasted.Count {
			next = last
		}
		m.of, m.at = append(m.of, next), second
		m.of = m.of[max(len(m.of)-mostMarks, 0):]
	}
	first := m.of[0]
	e := &Exchange{BreakerOpen: now.BreakerOpen}
	if now.Lasted.Count == first.Lasted.Count {
		return e
	}
	e.Lasted, e.Codes = between(&now.Lasted, &first.Lasted), make(map[int]int64)
	for code, n := range now.Codes {
		if n -= first.Codes[code]; n > 0 {
			e.Codes[code] = n
		}
	}
	return e
}

// backends has the marks of each backend, by tenant.
type backends map[string]*marks

// look returns the exchanges with each backend, and with all together; whole is nil if there is no backend.
func (b backends) look(
	now map[string]upstream.Snapshot, second int64,
) (byTenant map[string]*Exchange, whole *Exchange) {
	byTenant = make(map[string]*Exchange, len(now))
	for tenant, snapshot := range now {
		if b[tenant] == nil {
			b[tenant] = new(marks)
		}
		e := b[tenant].look(&snapshot, second)
		if byTenant[tenant] = e; whole == nil {
			whole = &Exchange{Lasted: make(Cells), Codes: make(map[int]int64)}
		}
		whole.add(e)
	}
	for tenant := range b {
		if byTenant[tenant] == nil {
			delete(b, tenant)
		}
	}
	return byTenant, whole
}
