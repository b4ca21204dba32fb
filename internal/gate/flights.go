package gate

import (
	"slices"
	"sync"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// flights has the flights of a bucket that have not landed.
type flights struct {
	mu            sync.Mutex // taken before a flight's own
	byFingerprint map[fingerprint.Fingerprint]*flight
	closed        bool
}

// join adds a caller to the flight of its webhook, and begins a flight if there is none. It returns nil and the reason
// if the gate is closing, or if half of all requests that may wait already wait for this one fingerprint: callers that
// hung up keep their places, so that aborted requests of one webhook would lock all others out.
func (s *flights) join(b *bucket, c *caller) (f *flight, refusal Outcome) {
	for {
		var fresh *flight
		if s.of(c.webhook.Fingerprint) == nil { // made outside of the lock, which every webhook takes
			fresh = newFlight(b, &c.webhook)
		}
		f, refusal, landed := s.enter(c, fresh, b.gate)
		if landed {
			continue
		}
		if f != nil && f == fresh {
			b.gate.drive(f)
		}
		return f, refusal
	}
}

// of returns the flight of a fingerprint, or nil.
func (s *flights) of(f fingerprint.Fingerprint) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byFingerprint[f]
}

// enter adds a caller to the flight of its webhook, which is fresh if there is no other. If there is no other and fresh
// is nil, it does nothing, and landed is true: the flight that was there has landed.
func (s *flights) enter(c *caller, fresh *flight, g *Gate) (f *flight, refusal Outcome, landed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f = s.byFingerprint[c.webhook.Fingerprint]
	switch {
	case f != nil:
	case s.closed:
		return nil, Unavailable, false
	case fresh == nil:
		return nil, 0, true
	default:
		f = fresh
		s.byFingerprint[f.fingerprint] = f
		g.running.Add(1) // until it is driven to its end
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	most := c.webhook.Tenant.MaxWaiters
	if waiting := len(f.callers) - f.departed; most > 0 && waiting >= max(most/2, 1) {
		return nil, Overloaded, false
	}
	g.running.Add(1) // until it is counted
	f.callers = append(f.callers, c)
	f.came++
	f.mixed = f.mixed || c.webhook.Digest != f.first
	if f != fresh { // what happened before it joined may concern it
		c.notify()
	}
	return f, 0, false
}

// pickLeader picks the caller that the next claim is made for, and whose webhook is executed: the one that has waited
// longest. If no caller is waiting, it removes the flight and returns false.
func (s *flights) pickLeader(f *flight) (w Request, ok bool) {
	if w, ok = f.lead(); ok {
		return w, true
	}
	s.mu.Lock() // keeps new callers from joining
	defer s.mu.Unlock()
	if w, ok = f.lead(); !ok {
		delete(s.byFingerprint, f.fingerprint)
	}
	return w, ok
}

func (f *flight) lead() (w Request, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	waits := slices.IndexFunc(f.callers, (*caller).stays)
	if waits < 0 {
		return w, false
	}
	f.leader, f.runs = f.callers[waits], false
	w = f.leader.webhook
	w.work = w.Source.Detach() // the caller is still there, because it departs under this lock
	if teller, ok := w.Source.(Teller); ok && f.bucket.gate.options.Trail > 0 {
		w.about = teller.About()
	}
	return w, true
}

func (s *flights) remove(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byFingerprint, f.fingerprint)
}

// notify tells the flight of a fingerprint that its record may have changed.
func (s *flights) notify(of fingerprint.Fingerprint) {
	s.mu.Lock()
	f := s.byFingerprint[of]
	s.mu.Unlock()
	if f != nil {
		f.notify()
	}
}

func (s *flights) notifyAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.byFingerprint {
		f.notify()
	}
}

// close makes sure that no request begins a flight any more. A request that joins a flight which has not landed still
// gets its outcome.
func (s *flights) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
