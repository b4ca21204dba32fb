package gate

import (
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

// executions are those of this bucket in this process: the keeper renews their leases.
type executions struct {
	mu      sync.Mutex
	running map[*execution]struct{}
}

// add takes an execution in, and cancels it when its lease ends unless it is renewed.
func (s *executions) add(e *execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.leaseTimer = time.AfterFunc(e.lease.Left(), func() { e.cancel(record.ErrLeaseLost) })
	s.running[e] = struct{}{}
}

// remove lets an execution go whose end is known.
func (s *executions) remove(e *execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.leaseTimer.Stop()
	delete(s.running, e)
}

// renewed extends a lease that is still running. A lease that is over stays over: its logic was told to stop.
func (s *executions) renewed(e *execution, l link.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.lease = l
	if _, running := s.running[e]; running {
		e.leaseTimer.Reset(l.Left())
	}
}

// due returns the executions whose lease was last sent for longer than age ago, and cancels those whose lease ended
// while the machine slept (their timers slept too).
func (s *executions) due(age time.Duration) (due []*execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := range s.running {
		if e.lost.Load() {
			continue // it must not put itself back
		}
		if e.lease.Over() {
			e.cancel(record.ErrLeaseLost)
		}
		if e.lease.Age() >= age {
			due = append(due, e)
		}
	}
	return due
}

func (s *executions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.running)
}
