package trail

import "github.com/oncegate/oncegate/internal/fingerprint"

// remembered is how many webhooks a reader remembers the fields of, at least: the ones that came last.
const remembered = 50_000

// memory has the fields of webhooks' requests, in two generations. A webhook that comes again moves to the young one,
// and the old one is forgotten as a whole.
type memory struct {
	young, old map[fingerprint.Fingerprint][]Field
}

func (m *memory) of(f fingerprint.Fingerprint) ([]Field, bool) {
	fields, known := m.young[f]
	if !known {
		if fields, known = m.old[f]; known {
			m.keep(f, fields)
		}
	}
	return fields, known
}

func (m *memory) keep(f fingerprint.Fingerprint, fields []Field) {
	if m.young == nil {
		m.young = make(map[fingerprint.Fingerprint][]Field)
	}
	m.young[f] = fields
}

// age makes the young generation the old one once it is full.
func (m *memory) age() {
	if len(m.young) >= remembered {
		m.young, m.old = nil, m.young
	}
}
