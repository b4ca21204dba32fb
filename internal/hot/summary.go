package hot

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// Bounds of the memory: this many webhooks in each of the last minutes.
const (
	kept    = 256
	minutes = 5

	// Most is how many webhooks a list has.
	Most = 100
)

// Item is a webhook with an upper bound of its duplicates, and by how many that bound may be too high.
type Item struct {
	Fingerprint fingerprint.Fingerprint `json:"fingerprint"`
	Tenant      string                  `json:"tenant,omitempty"`
	Duplicates  uint64                  `json:"duplicates"`
	Error       uint64                  `json:"error"`
}

// sketch finds the most frequent of any number of webhooks in a fixed memory (Metwally, Agrawal, El Abbadi: Efficient
// Computation of Frequent and Top-k Elements in Data Streams, "Space-Saving"): a new webhook takes the place of the
// rarest one, and takes over its count too, as an error. A webhook that came more often than all/kept is in it.
type sketch struct {
	items []*counted // a heap: the rarest is first
	known map[fingerprint.Fingerprint]*counted
}

type counted struct {
	Item
	at int // index in the heap
}

func newSketch() *sketch { return &sketch{known: make(map[fingerprint.Fingerprint]*counted, kept)} }

func (s *sketch) add(f fingerprint.Fingerprint, tenant string, n uint64) {
	c := s.known[f]
	switch {
	case c != nil:
		c.Duplicates += n
		heap.Fix(s, c.at)
	case len(s.items) < kept:
		c = &counted{Item: Item{Fingerprint: f, Tenant: tenant, Duplicates: n}}
		s.known[f] = c
		heap.Push(s, c)
	default:
		c = s.items[0]
		delete(s.known, c.Fingerprint)
		c.Item = Item{Fingerprint: f, Tenant: tenant, Duplicates: c.Duplicates + n, Error: c.Duplicates}
		s.known[f] = c
		heap.Fix(s, 0)
	}
}

// unseen returns how often a webhook that is not in the sketch may have come.
func (s *sketch) unseen() uint64 {
	if len(s.items) < kept {
		return 0
	}
	return s.items[0].Duplicates
}

// Len, Less, Swap, Push and Pop make the sketch a heap.
func (s *sketch) Len() int           { return len(s.items) }
func (s *sketch) Less(i, j int) bool { return s.items[i].Duplicates < s.items[j].Duplicates }
func (s *sketch) Swap(i, j int) {
	s.items[i], s.items[j] = s.items[j], s.items[i]
	s.items[i].at, s.items[j].at = i, j
}

func (s *sketch) Push(x any) {
	c, _ := x.(*counted) // nothing else is pushed
	c.at = len(s.items)
	s.items = append(s.items, c)
}

func (s *sketch) Pop() any { return nil } // never called: the rarest is replaced in its place

// Summary has the webhooks that came most often in the last minutes. One goroutine at a time may use it.
type Summary struct {
	sketches [minutes]*sketch
	minute   int64 // of the newest one
}

// Add counts n duplicates of a tenant's webhook in a minute (Unix).
func (s *Summary) Add(f fingerprint.Fingerprint, tenant string, n uint64, minute int64) {
	s.turn(minute)
	s.sketches[minute%minutes].add(f, tenant, n)
}

// turn drops the minutes that are over.
func (s *Summary) turn(minute int64) {
	if s.sketches[0] == nil || minute-s.minute >= minutes {
		for i := range s.sketches {
			s.sketches[i] = newSketch()
		}
		s.minute = minute
	}
	for s.minute < minute {
		s.minute++
		s.sketches[s.minute%minutes] = newSketch()
	}
}

// Top returns the webhooks of the last minutes with most duplicates, Most at most.
func (s *Summary) Top(minute int64) []Item {
	s.turn(minute)
	lists := make([][]Item, 0, minutes)
	unseen := make([]uint64, 0, minutes)
	for _, sketch := range s.sketches {
		list := make([]Item, 0, len(sketch.items))
		for _, c := range sketch.items {
			list = append(list, c.Item)
		}
		lists, unseen = append(lists, list), append(unseen, sketch.unseen())
	}
	return merge(lists, unseen)
}

// Merge adds up the lists of several replicas. A webhook that a full list leaves out may have come as often as the
// list's last one.
func Merge(lists ...[]Item) []Item {
	unseen := make([]uint64, len(lists))
	for i, list := range lists {
		if len(list) >= Most {
			unseen[i] = list[len(list)-1].Duplicates
		}
	}
	return merge(lists, unseen)
}

func merge(lists [][]Item, unseen []uint64) []Item {
	var all uint64
	for _, n := range unseen {
		all += n
	}
	sums := make(map[fingerprint.Fingerprint]Item)
	for i, list := range lists {
		for _, item := range list {
			sum, met := sums[item.Fingerprint]
			if !met {
				sum = Item{Fingerprint: item.Fingerprint, Tenant: item.Tenant, Duplicates: all, Error: all}
			}
			sum.Duplicates += item.Duplicates - unseen[i] // in all, unseen[i] was taken for this list's share
			sum.Error += item.Error - unseen[i]
			sums[item.Fingerprint] = sum
		}
	}
	merged := make([]Item, 0, len(sums))
	for _, item := range sums {
		merged = append(merged, item)
	}
	slices.SortFunc(merged, func(a, b Item) int {
		return cmp.Or(cmp.Compare(b.Duplicates, a.Duplicates), cmp.Compare(a.Error, b.Error),
			slices.Compare(a.Fingerprint[:], b.Fingerprint[:]))
	})
	return merged[:min(len(merged), Most)]
}
