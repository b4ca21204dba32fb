package gate

import (
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

// executions has the executions of this bucket in this process. The keeper renews their leases. One timer cancels the
// executions whose lease is over, because a timer for each would cost every webhook what hardly one needs.
type executions struct {
	mu    sync.Mutex
	first *execution // of a list
	n     int
	timer *time.Timer
	rings time.Time // when the timer rings, no later than the first lease ends; zero: it is not set
}

// add takes an execution in. It is cancelled when its lease ends, unless the lease is renewed.
func (s *executions) add(e *execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.behind = s.first; e.behind != nil {
		e.behind.before = e
	}
	s.first, e.listed = e, true
	s.n++
	s.ringBy(e.lease)
}

// ringBy makes the timer ring no later than a lease ends. The lock is held.
func (s *executions) ringBy(l link.Lease) {
	end := l.End()
	if !s.rings.IsZero() && !end.Before(s.rings) {
		return
	}
	s.rings = end
	if s.timer == nil {
		s.timer = time.AfterFunc(l.Left(), s.fence)
	} else {
		s.timer.Reset(l.Left())
	}
}

// fence cancels the executions whose lease is over.
func (s *executions) fence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rings = time.Time{}
	for e := s.first; e != nil; e = e.behind {
		if e.lease.Over() {
			e.lifetime.cancel(record.ErrLeaseLost)
		} else {
			s.ringBy(e.lease)
		}
	}
}

// remove lets go of an execution, because its end is known.
func (s *executions) remove(e *execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.listed {
		return
	}
	if e.before == nil {
		s.first = e.behind
	} else {
		e.before.behind = e.behind
	}
	if e.behind != nil {
		e.behind.before = e.before
	}
	e.before, e.behind, e.listed = nil, nil, false
	s.n--
}

// renewed extends a lease that is still running. A lease that is over stays over, because its logic was told to stop.
func (s *executions) renewed(e *execution, l link.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.lease = l
	if e.listed {
		s.ringBy(l)
	}
}

// due returns the executions whose claim or last renewal was sent longer than age ago. It also cancels the executions
// whose lease ended while the machine slept, because the timer slept too.
func (s *executions) due(age time.Duration) (due []*execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.first; e != nil; e = e.behind {
		if fate := e.fate.Load(); fate == fateLost || fate == fateOvertaken {
			continue // an execution with a lost lease must not put itself back
		}
		if e.lease.Over() {
			e.lifetime.cancel(record.ErrLeaseLost)
		}
		if e.lease.Age() >= age {
			due = append(due, e)
		}
	}
	return due
}

// countUp counts another driver, unless the execution's end is known. Until then the execution's own driver is counted,
// so that no goroutine that waits for all drivers can be done.
func (s *executions) countUp(drivers *sync.WaitGroup, e *execution) (counted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.listed {
		drivers.Add(1)
	}
	return e.listed
}

func (s *executions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}
