package link

import (
	"fmt"
	"sync"
	"time"

	"github.com/oncegate/oncegate/scripts"
)

// Bounds of one group. Redis does nothing else while it works on a group (about 1 ms for 128 operations), and a large
// one is long on its way.
const (
	MaxGroup      = 128
	MaxGroupBytes = 1 << 20 // of arguments; an operation alone may have more
)

// eager is how many operations may be in flight before the next one queues. A queued operation waits for half a call on
// average. That costs it less than calls of their own cost all of them: with 16, 64 and 512 callers, one operation in
// flight gives 1.3 to 1.4 times as many webhooks per second as four, and with 4 callers no fewer.
const eager = 1

// group gathers operations while a call is under way, and sends them together in the next one, as a database commits
// its log. If none is under way, an operation goes out at once, in the goroutine that brought it. A group has no
// goroutine and no timer of its own: the goroutine that comes back from a call lets the first operation that gathered
// make the next call, for all of them.
type group struct {
	eager int // const eager, unless grouping is off; fixed at construction

	mu       sync.Mutex
	inFlight int       // operations under way
	waiting  []*ticket // for the next call, in order of arrival
	limit    int       // operations of the next call; halved after one without an answer, so that the next risks less
}

// ticket is one operation on its way.
type ticket struct {
	op   scripts.Op
	turn chan *batch // holds one: the batch whose call is to be made; nil: another goroutine has made the call

	reply Reply // Sent is when the ticket came
}

// batch is a group on its way. Its first ticket is of the goroutine that makes the call.
type batch struct {
	tickets []*ticket
	call    scripts.Call
}

// Tickets and batches are used again: the two operations of a webhook should leave no garbage behind.
var (
	tickets = sync.Pool{New: func() any { return &ticket{turn: make(chan *batch, 1)} }}
	batches = sync.Pool{New: func() any { return new(batch) }}
)

// batchOf returns a batch of these tickets.
func batchOf(of ...*ticket) *batch {
	b, _ := batches.Get().(*batch) // nothing else is in the pool
	b.tickets = append(b.tickets, of...)
	return b
}

// free lets a batch be used again.
func (b *batch) free() {
	clear(b.tickets)
	clear(b.call.Ops)
	b.tickets, b.call.Ops = b.tickets[:0], b.call.Ops[:0]
	batches.Put(b)
}

// Do sends one operation, in one call of the script together with others. The answer is the operation's own, an error
// is that of the call.
func (l *Link) Do(op scripts.Op) Reply {
	t, _ := tickets.Get().(*ticket) // nothing else is in the pool
	t.op = op
	t.reply = Reply{Fact: Fact[scripts.Answer]{epoch: l.Epoch(), link: l}, Sent: time.Now()}
	mine := l.group.begin(t)
	if mine == nil {
		mine = <-t.turn
	}
	if mine != nil {
		l.commit(mine)
	}
	reply := t.reply
	t.op, t.reply = scripts.Op{}, Reply{}
	tickets.Put(t)
	return reply
}

// begin returns the ticket as a batch of its own if it can go out at once.
func (g *group) begin(t *ticket) *batch {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inFlight < g.eager {
		g.inFlight++
		return batchOf(t)
	}
	g.waiting = append(g.waiting, t)
	return nil
}

// commit makes the call of a batch, lets the next batch go, and hands out the replies. The first ticket is the caller's
// own.
func (l *Link) commit(b *batch) {
	for _, t := range b.tickets {
		b.call.Ops = append(b.call.Ops, t.op)
	}
	reply, err := l.send(&b.call, l.due())
	late := l.group.next(len(b.tickets), err == nil, l.RedisTimeout)
	for i, t := range b.tickets {
		t.reply.Counted, t.reply.Err = reply.Counted, err
		if err == nil {
			t.reply.value = reply.Answers[i]
		}
		if i > 0 {
			t.turn <- nil // from here on the ticket is its caller's
		}
	}
	b.free()
	for _, t := range late {
		t.reply.Err = errNoTurn
		t.turn <- nil
	}
}

var errNoTurn = fmt.Errorf("calls before it had no answer: %w", ErrNotSent)

// next is called after a call of n operations, and lets the first waiting ticket make the next call. If the call had no
// answer, it returns the tickets that have waited for longer than patience: they must not learn of it one call after
// the other.
func (g *group) next(n int, answered bool, patience time.Duration) (late []*ticket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight -= n
	if answered {
		g.limit = min(max(2*g.limit, 1), MaxGroup)
	} else {
		g.limit = max(g.limit/2, 1)
		for len(g.waiting) > len(late) && time.Since(g.waiting[len(late)].reply.Sent) > patience {
			late = append(late, g.waiting[len(late)])
		}
		g.shift(len(late))
	}
	if len(g.waiting) == 0 || g.inFlight >= g.eager {
		return late // the next call is made when the one under way has come back
	}
	size, bytes := 1, g.waiting[0].op.Size()
	for ; size < min(len(g.waiting), g.limit); size++ {
		if bytes += g.waiting[size].op.Size(); bytes > MaxGroupBytes {
			break
		}
	}
	b := batchOf(g.waiting[:size]...)
	g.shift(size)
	g.inFlight += size
	b.tickets[0].turn <- b
	return late
}

// shift takes the first n tickets out of those that wait. The lock is held.
func (g *group) shift(n int) {
	left := copy(g.waiting, g.waiting[n:])
	clear(g.waiting[left:])
	g.waiting = g.waiting[:left]
}

// Batch sends up to MaxGroup operations in one call of their own: the keeper's renewals and restores. An error is that
// of the call.
func (l *Link) Batch(ops []scripts.Op) ([]Reply, scripts.History, error) {
	epoch, sent := l.Epoch(), time.Now()
	reply, err := l.send(&scripts.Call{Ops: ops}, l.due())
	if err != nil {
		return nil, scripts.History{}, err
	}
	replies := make([]Reply, len(ops))
	for i, answer := range reply.Answers {
		replies[i] = Reply{Fact: Fact[scripts.Answer]{answer, epoch, l}, Sent: sent, Counted: reply.Counted}
	}
	return replies, reply.History, nil
}
