package link

import (
	"time"

	"github.com/oncegate/oncegate/scripts"
)

// Fact is something that Redis said, or that follows from it. Its value is only to be had while no loss has been
// suspected since it was asked (Now, After), so that it cannot be acted upon by mistake.
type Fact[T any] struct {
	value T
	epoch Epoch
	link  *Link
}

// Epoch is the one in which it was asked.
func (f Fact[T]) Epoch() Epoch { return f.epoch }

// Now returns the value. ok is false if a loss has been suspected since it was asked; the zero Fact says nothing.
func (f Fact[T]) Now() (value T, ok bool) {
	if f.link == nil || !f.link.Current(f.epoch) {
		return value, false
	}
	return f.value, true
}

// After returns the value once note has written it down, so that it can be put back. ok is false if a loss has been
// suspected since it was asked. The order matters: a loss that comes behind the note finds the value in it, and one
// that comes before makes ok false. If the order were the other way round, a loss between the two would find nothing to
// put back, and a caller would be told what Redis no longer has.
func (f Fact[T]) After(note func(T, Epoch)) (value T, ok bool) {
	note(f.value, f.epoch)
	return f.Now()
}

// Then is what follows from a fact.
func Then[T, U any](f Fact[T], follow func(T) U) Fact[U] {
	return Fact[U]{follow(f.value), f.epoch, f.link}
}

// Told is a fact that was not asked now: what a person's command or an earlier reply has shown to stand in this epoch.
func Told[T any](l *Link, value T) Fact[T] { return Fact[T]{value, l.Epoch(), l} }

// Reply is what Redis said to one operation.
type Reply struct {
	Fact[scripts.Answer]

	Sent    time.Time // before the operation was sent: a lease that it won runs from then
	Counted bool      // the script has counted the transitions
	Err     error     // no answer is known; errors.Is(err, ErrNotSent): Redis did nothing
}

// InAnyEpoch returns the answer whatever has happened since. It is for the keeper alone, whose renewals and restores
// are what puts back after a loss: they say what they found, and are repeated in the next epoch.
func (r Reply) InAnyEpoch() scripts.Answer { return r.value }
