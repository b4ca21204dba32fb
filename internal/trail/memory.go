package trail

import "github.com/oncegate/oncegate/internal/fingerprint"

// remembered is of how many webhooks a reader knows at least what they were about: of those that came last.
const remembered = 50_000

// memory has what webhooks were about, in two generations. A webhook that comes again moves to the young one, and the
// old one is forgotten as a whole.
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
