package gate

import (
	"sync"
	"time"
)

// lease is what this replica believes of a lease, by its own clock: it runs from before the claim or the renewal that
// won it was sent, so that it ends here before it ends in Redis.
type lease struct {
	sent   time.Time
	length time.Duration
}

func newLease(length time.Duration) lease { return lease{time.Now(), length} }

// left takes the larger of monotonic and wall time: the one stands still while a machine sleeps, the other can be set
// back.
func (l lease) left() time.Duration {
	now := time.Now()
	return l.length - max(now.Sub(l.sent), now.Round(0).Sub(l.sent.Round(0)))
}

func (l lease) over() bool { return l.left() <= 0 }

// leases are the executions of this process.
type leases struct {
	mu      sync.Mutex
	running map[*execution]struct{}
}

// add takes an execution in, and cancels it when its lease ends unless it is renewed.
func (s *leases) add(e *execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.fence = time.AfterFunc(e.lease.left(), func() { e.cancel(ErrLeaseLost) })
	s.running[e] = struct{}{}
}

func (s *leases) remove(e *execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.fence.Stop()
	delete(s.running, e)
}

// renewed extends a lease that is still running. What is over stays over: its logic was told to stop.
func (s *leases) renewed(e *execution, l lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.lease = l
	if _, running := s.running[e]; running {
		e.fence.Reset(l.left())
	}
}

// due returns the executions whose lease was last sent for longer than age ago, and fences those whose lease ended
// while the machine slept (their timers slept too).
func (s *leases) due(age time.Duration) (due []*execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := range s.running {
		if e.ended.Load() {
			continue // lost: it must not put itself back
		}
		if e.lease.over() {
			e.cancel(ErrLeaseLost)
		}
		if e.lease.length-e.lease.left() >= age {
			due = append(due, e)
		}
	}
	return due
}

func (s *leases) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.running)
}
