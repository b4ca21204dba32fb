package gate

import "container/heap"

// chain links entries of the journal, each to the one that was answered next.
type chain struct {
	in          int // which of an entry's two links it uses
	first, last *entry
}

func (c *chain) push(e *entry) {
	if e.links[c.in].earlier = c.last; c.last == nil {
		c.first = e
	} else {
		c.last.links[c.in].later = e
	}
	c.last = e
}

func (c *chain) cut(e *entry) {
	l := &e.links[c.in]
	if l.earlier == nil {
		c.first = l.later
	} else {
		l.earlier.links[c.in].later = l.later
	}
	if l.later == nil {
		c.last = l.earlier
	} else {
		l.later.links[c.in].earlier = l.earlier
	}
	l.earlier, l.later = nil, nil
}

// share is a tenant's part of the journal.
type share struct {
	tenant  string
	entries chain
	bytes   int
	at      int // index in the heap
}

// shares has the shares of all tenants that have an entry, as a heap by their bytes. The journal's lock guards them.
type shares struct {
	byTenant map[string]*share
	heap     shareHeap
}

// of returns a tenant's share; nil has no name.
func (s *shares) of(t *Tenant) *share {
	name := ""
	if t != nil {
		name = t.Name
	}
	known := s.byTenant[name]
	if known == nil {
		known = &share{tenant: name, entries: chain{in: 1}}
		if s.byTenant == nil {
			s.byTenant = map[string]*share{}
		}
		s.byTenant[name] = known
		heap.Push(&s.heap, known)
	}
	return known
}

// grow adds bytes to a share. An empty share is removed.
func (s *shares) grow(one *share, bytes int) {
	if one.bytes += bytes; one.bytes > 0 {
		heap.Fix(&s.heap, one.at)
		return
	}
	heap.Remove(&s.heap, one.at)
	delete(s.byTenant, one.tenant)
}

// largest returns the share with most bytes; there must be one.
func (s *shares) largest() *share { return s.heap[0] }

// shareHeap is a heap.Interface.
type shareHeap []*share

// Len returns the number of shares.
func (h *shareHeap) Len() int { return len(*h) }

// Less puts the larger share first.
func (h *shareHeap) Less(i, j int) bool { return (*h)[i].bytes > (*h)[j].bytes }

// Swap swaps two shares.
func (h *shareHeap) Swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	s[i].at, s[j].at = i, j
}

// Push adds a share at the end.
func (h *shareHeap) Push(x any) {
	one, _ := x.(*share) // nothing else is pushed
	one.at = len(*h)
	*h = append(*h, one)
}

// Pop takes the last share out.
func (h *shareHeap) Pop() any {
	last := len(*h) - 1
	one := (*h)[last]
	*h = (*h)[:last]
	return one
}
