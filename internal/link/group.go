package link

import (
	"fmt"
	"sync"
	"time"

	"github.com/oncegate/oncegate/scripts"
)

// Bounds of what one group may hold. Redis does nothing else while it works on one (about 1 ms for 128 operations), and
// a large one is long on its way.
const (
	MaxGroup      = 128
	MaxGroupBytes = 1 << 20 // of arguments; one operation alone may have more
)

// eager is how many operations may be in flight before the next one queues: few callers lose more by waiting for each
// other than a call costs.
const eager = 4

// group gathers operations while a call is under way, and sends them together in the next one, as a database commits
// its log. Alone, an operation goes out at once, in the goroutine that brought it. A group has no goroutine and no
// timer of its own: whoever comes back from a call lets the first operation that gathered make the next call, for all
// of them.
type group struct {
	eager int // const eager, unless nothing is grouped; fixed at construction

	mu       sync.Mutex
	inFlight int       // operations under way
	waiting  []*ticket // for the next call, in the order they came
	limit    int       // operations of the next call: fewer after one without an answer, so that the next ones risk less
}

// ticket is an operation on its way.
type ticket struct {
	op   scripts.Op
	came time.Time
	turn chan []*ticket // gets the group whose call is to be made; closed: another one has made the call

	reply Reply
}

// Do sends one operation, in one call of the script with others. Its answer is its own, an error that of the call.
func (l *Link) Do(op scripts.Op) Reply {
	t := &ticket{op: op}
	t.reply.epoch, t.reply.link, t.reply.Sent = l.Epoch(), l, time.Now()
	mine := l.group.begin(t)
	if mine == nil {
		mine = <-t.turn
	}
	if mine != nil {
		l.commit(mine)
	}
	return t.reply
}

// begin returns the ticket as a group of its own if it can go out at once.
func (g *group) begin(t *ticket) []*ticket {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inFlight < g.eager {
		g.inFlight++
		return []*ticket{t}
	}
	t.came, t.turn = t.reply.Sent, make(chan []*ticket, 1)
	g.waiting = append(g.waiting, t)
	return nil
}

// commit makes the call of a group, lets the next one go, and hands out what came back. The first ticket is the
// caller's own.
func (l *Link) commit(tickets []*ticket) {
	ops := make([]scripts.Op, len(tickets))
	for i, t := range tickets {
		ops[i] = t.op
	}
	reply, err := l.call(ops)
	late := l.group.next(len(tickets), err == nil, l.RedisTimeout)
	for i, t := range tickets {
		t.reply.Counted, t.reply.Err = reply.Counted, err
		if err == nil {
			t.reply.value = reply.Answers[i]
		}
		if i > 0 {
			close(t.turn)
		}
	}
	for _, t := range late {
		t.reply.Err = errNoTurn
		close(t.turn)
	}
}

var errNoTurn = fmt.Errorf("calls before it had no answer: %w", ErrNotSent)

// next lets the first of those that wait make the next call, after one of n operations. It returns those that have
// waited for longer than patience while Redis did not answer: they must not learn of it one call after the other.
func (g *group) next(n int, answered bool, patience time.Duration) (late []*ticket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight -= n
	if answered {
		g.limit = min(max(2*g.limit, 1), MaxGroup)
	} else {
		g.limit = max(g.limit/2, 1)
		for len(g.waiting) > 0 && time.Since(g.waiting[0].came) > patience {
			late, g.waiting = append(late, g.waiting[0]), g.waiting[1:]
		}
	}
	if len(g.waiting) == 0 || g.inFlight >= g.eager {
		return late // the next call is made when the one under way is back
	}
	size, bytes := 1, g.waiting[0].op.Size()
	for ; size < min(len(g.waiting), g.limit); size++ {
		if bytes += g.waiting[size].op.Size(); bytes > MaxGroupBytes {
			break
		}
	}
	tickets := g.waiting[:size:size]
	g.waiting = g.waiting[size:]
	g.inFlight += size
	tickets[0].turn <- tickets
	return late
}

// Batch sends up to MaxGroup operations in one call of their own: renewals and restores, which the keeper sends. An
// error is that of the call.
func (l *Link) Batch(ops []scripts.Op) ([]Reply, scripts.History, error) {
	epoch, sent := l.Epoch(), time.Now()
	reply, err := l.call(ops)
	if err != nil {
		return nil, scripts.History{}, err
	}
	replies := make([]Reply, len(ops))
	for i, answer := range reply.Answers {
		replies[i] = Reply{Fact: Fact[scripts.Answer]{answer, epoch, l}, Sent: sent, Counted: reply.Counted}
	}
	return replies, reply.History, nil
}
