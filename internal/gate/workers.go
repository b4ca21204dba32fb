package gate

import (
	"sync"
	"time"
)

// workers are goroutines that drive flights, one flight after the other. They are kept, because a fresh goroutine would
// grow its stack anew for each webhook, which took a tenth of the time of a first delivery.
type workers struct {
	driven func() // called when a worker has no more to do with its flight; fixed at construction

	mu    sync.Mutex
	idle  []*worker // the last one was busy last, and is taken first: its stack is warm
	ended bool
}

type worker struct {
	next  chan *flight // holds one; closed: the worker ends
	since time.Time    // it has been idle since then
}

// Bounds of the workers that are kept. A worker holds some 8 KiB of stack.
const (
	maxIdle = 1024
	idleFor = 10 * time.Second
)

// drive gives a flight to a worker.
func (s *workers) drive(f *flight) {
	s.mu.Lock()
	last := len(s.idle) - 1
	if last < 0 {
		s.mu.Unlock()
		go s.work(f)
		return
	}
	w := s.idle[last]
	s.idle = s.idle[:last]
	s.mu.Unlock()
	w.next <- f
}

// work drives a flight, and then others that come soon enough.
func (s *workers) work(f *flight) {
	w := &worker{next: make(chan *flight, 1)}
	driving := true
	defer func() {
		if driving { // the logic has ended this goroutine
			s.driven()
		}
	}()
	for ok := true; ok; f, ok = <-w.next {
		driving = true
		f.drive()
		driving = false
		s.driven()
		if !s.rest(w) {
			return
		}
	}
}

func (s *workers) rest(w *worker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.idle) == maxIdle {
		return false
	}
	w.since = time.Now()
	s.idle = append(s.idle, w)
	return true
}

// trim ends the workers that have been idle since before a moment.
func (s *workers) trim(before time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.idle) && s.idle[n].since.Before(before) {
		close(s.idle[n].next)
		n++
	}
	s.idle = append(s.idle[:0], s.idle[n:]...)
}

// end ends the idle workers at once, and the others when they have driven their flights.
func (s *workers) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.idle {
		close(w.next)
	}
	s.idle, s.ended = nil, true
}
