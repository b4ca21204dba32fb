package gate

import (
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

// executions are those of this bucket in this process: the keeper renews their leases. One timer cancels those whose
// lease is over, since a timer for each would cost every webhook what hardly one needs.
type executions struct {
	mu    sync.Mutex
	first *execution // of a list
	n     int
	timer *time.Timer
	rings time.Time // the timer does, no later than the first lease ends; zero: it does not
}

// add takes an execution in, which is cancelled when its lease ends unless that is renewed.
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

// ringBy makes the timer ring when a lease ends, if not before. The lock is held.
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

// remove lets an execution go whose end is known.
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

// renewed extends a lease that is still running. A lease that is over stays over: its logic was told to stop.
func (s *executions) renewed(e *execution, l link.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.lease = l
	if e.listed {
		s.ringBy(l)
	}
}

// due returns the executions whose lease was last sent for longer than age ago, and cancels those whose lease ended
// while the machine slept (the timer slept too).
func (s *executions) due(age time.Duration) (due []*execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.first; e != nil; e = e.behind {
		if fate := e.fate.Load(); fate == fateLost || fate == fateOvertaken {
			continue // it must not put itself back
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

// countUp counts one more driver up, unless the execution's end is known: until then its own driver is counted, so that
// nobody who waits for all of them can be done.
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
