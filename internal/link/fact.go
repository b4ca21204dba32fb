package link

import (
	"time"

	"github.com/oncegate/oncegate/scripts"
)

// Fact is a value that Redis told, or one that follows from it. It gives its value out only if no loss has been
// suspected since Redis was asked (Now, After), so that nobody acts on an outdated value by mistake.
type Fact[T any] struct {
	value T
	epoch Epoch
	link  *Link
}

// Epoch returns the epoch in which Redis was asked.
func (f Fact[T]) Epoch() Epoch { return f.epoch }

// Now returns the value. ok is false if a loss has been suspected since Redis was asked, and for the zero Fact, which
// says nothing.
func (f Fact[T]) Now() (value T, ok bool) {
	if f.link == nil || !f.link.Current(f.epoch) {
		return value, false
	}
	return f.value, true
}

// After lets note write the value down, so that it can be put back, and then returns it. ok is false if a loss has been
// suspected since Redis was asked. The order matters. A loss after the note finds the value noted, and one before it
// makes ok false. If the epoch were compared first, a loss between the two steps would find nothing to put back, and a
// caller would be told a result that Redis no longer has.
func (f Fact[T]) After(note func(T, Epoch)) (value T, ok bool) {
	note(f.value, f.epoch)
	return f.Now()
}

// Then returns a fact that follows from another one, and is as current.
func Then[T, U any](f Fact[T], follow func(T) U) Fact[U] {
	return Fact[U]{follow(f.value), f.epoch, f.link}
}

// Told makes a fact of a value that was not asked for now: a person's command or an earlier reply has shown it in this
// epoch.
func Told[T any](l *Link, value T) Fact[T] { return Fact[T]{value, l.Epoch(), l} }

// Reply is the reply to one operation.
type Reply struct {
	Fact[scripts.Answer]

	Sent    time.Time // before the operation was sent: a lease that it won runs from then
	Counted bool      // the script has counted the transitions
	Err     error     // no answer is known; errors.Is(err, ErrNotSent): Redis did nothing
}

// InAnyEpoch returns the answer even if a loss has been suspected since. It is for the keeper alone: its renewals and
// restores do the putting back after a loss. They say what they found, and are repeated in the next epoch.
func (r Reply) InAnyEpoch() scripts.Answer { return r.value }
