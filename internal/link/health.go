package link

import (
	"sync/atomic"
	"time"
)

// health notes since when Redis has not answered, or has not taken writes.
type health struct {
	silent   spell // it does not answer
	refusing spell // it answers, but takes no writes

	said atomic.Value // the code of the last error with which Redis itself answered a whole call, a string
}

// Silent reports whether Redis does not answer.
func (l *Link) Silent() bool { return l.health.silent.lasting() > 0 }

// InTrouble reports whether Redis does not answer, or takes no writes.
func (l *Link) InTrouble() bool { return l.health.bad() }

// InTroubleFor reports whether the trouble has lasted for as long as d.
func (l *Link) InTroubleFor(d time.Duration) bool { return l.health.over(d) }

// RefusesWrites reports whether Redis takes no writes, by its answer to the last one.
func (l *Link) RefusesWrites() bool { return l.health.refusing.lasting() > 0 }

func (h *health) bad() bool { return h.silent.lasting() > 0 || h.refusing.lasting() > 0 }

func (h *health) over(d time.Duration) bool { return h.silent.over(d) || h.refusing.over(d) }

// spell is a time that has begun and not ended. The zero spell has not begun.
type spell struct{ since atomic.Int64 } // Unix ns; 0: not begun

// begin begins the spell, and reports whether it had not begun before.
func (s *spell) begin() bool {
	return s.since.Load() == 0 && s.since.CompareAndSwap(0, time.Now().UnixNano())
}

// end ends the spell and returns how long it lasted; 0 if it had not begun.
func (s *spell) end() time.Duration {
	if s.since.Load() == 0 {
		return 0
	}
	return elapsed(s.since.Swap(0))
}

// lasting returns how long the spell has lasted, at least 1 ns; 0 if it has not begun.
func (s *spell) lasting() time.Duration { return elapsed(s.since.Load()) }

// over reports whether the spell has lasted for as long as d.
func (s *spell) over(d time.Duration) bool {
	lasting := s.lasting()
	return lasting > 0 && lasting >= d
}

func elapsed(since int64) time.Duration {
	if since == 0 {
		return 0
	}
	return max(time.Since(time.Unix(0, since)), 1)
}
