// Package hot finds the webhooks that come most often, in a fixed memory. It costs each webhook one atomic addition
// (touched.go). A goroutine that counts once a second keeps a summary of the last minutes (summary.go).
package hot

import (
	"sync/atomic"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// Entry counts the duplicates of one webhook. It is part of data that a duplicate reads anyway. Its zero value is ready
// once it has the webhook's name.
type Entry struct {
	Fingerprint fingerprint.Fingerprint
	Tenant      string // "": there are no tenants

	hits atomic.Uint64 // since the last Take
	next *Entry        // below it on the stack; the goroutine that made hits 1 owns this until it has pushed the entry
}

// Touched is a stack of the entries that were hit since they were last taken. It is off until somebody takes.
type Touched struct {
	on  atomic.Bool
	top atomic.Pointer[Entry]
}

// Watch switches it on or off. While it is off nothing is kept.
func (t *Touched) Watch(on bool) {
	t.on.Store(on)
	if !on {
		t.Take(func(*Entry, uint64) {})
	}
}

// Hit counts a duplicate. It allocates nothing and takes no lock.
func (t *Touched) Hit(e *Entry) {
	if !t.on.Load() || e.hits.Add(1) > 1 {
		return // it is on the stack, or about to be
	}
	for {
		e.next = t.top.Load()
		if t.top.CompareAndSwap(e.next, e) {
			return
		}
	}
}

// Take calls each with every entry that was hit since the last Take, and how often. One goroutine at a time may call
// it.
func (t *Touched) Take(each func(e *Entry, hits uint64)) {
	for e := t.top.Swap(nil); e != nil; {
		next := e.next // read before the next hit may push the entry again
		e.next = nil
		each(e, e.hits.Swap(0))
		e = next
	}
}
