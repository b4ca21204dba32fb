package gate

import (
	"fmt"
	"sync"
	"time"

	"github.com/oncegate/oncegate/scripts"
)

// What one group may hold. Redis does nothing else while it works on one (about 1 ms for 128 operations), and a large
// one is long on its way.
const (
	maxGroup      = 128
	maxGroupBytes = 1 << 20 // of arguments; one operation alone may have more
)

// eager is with how many operations under way the next one need not wait: few callers lose more by waiting for each
// other than a call costs.
const eager = 4

// committer gathers operations while a call is under way, and sends them together in the next one, as a database
// commits its log. Alone, an operation goes out at once, in the goroutine that brought it. It has no goroutine and no
// timer of its own: who comes back from a call lets the first of those who gathered make the next one, for all of them.
type committer struct {
	eager int // const eager, but where nothing is grouped

	mu      sync.Mutex
	flying  int       // operations under way
	waiting []*ticket // for the next one, in the order they came
	limit   int       // operations of the next one: fewer after a call that had no answer, so that the next ones risk less
}

// ticket is an operation on its way.
type ticket struct {
	op   scripts.Op
	came time.Time
	turn chan []*ticket // gets the group whose call is to be made; closed: another one has made the call

	answer  scripts.Answer
	counted bool // the script has counted the transitions
	err     error
}

// commit does one operation, in one call of the script with others. Its answer is its own, an error that of the call.
func (b *bucket) commit(op scripts.Op) *ticket {
	t := &ticket{op: op}
	group := b.committer.begin(t)
	if group == nil {
		group = <-t.turn
	}
	if group != nil {
		b.commitGroup(group)
	}
	return t
}

// begin returns the ticket as a group of its own where it can go out at once.
func (c *committer) begin(t *ticket) []*ticket {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flying < c.eager {
		c.flying++
		return []*ticket{t}
	}
	t.came, t.turn = time.Now(), make(chan []*ticket, 1)
	c.waiting = append(c.waiting, t)
	return nil
}

// commitGroup makes the call of a group, lets the next one go, and hands out what came back. The first ticket is the
// caller's own.
func (b *bucket) commitGroup(group []*ticket) {
	ops := make([]scripts.Op, len(group))
	for i, t := range group {
		ops[i] = t.op
	}
	reply, err := b.call(ops)
	late := b.committer.next(len(group), err == nil, b.RedisTimeout)
	for i, t := range group {
		t.counted, t.err = reply.Counted, err
		if err == nil {
			t.answer = reply.Answers[i]
		}
		if i > 0 {
			close(t.turn)
		}
	}
	for _, t := range late {
		t.err = errNoTurn
		close(t.turn)
	}
}

var errNoTurn = fmt.Errorf("calls before it had no answer: %w", errNotSent)

// next lets the first of those who wait make the next call, after one of n operations. It returns those who have waited
// for longer than patience while Redis did not answer: they must not learn of it one call after the other.
func (c *committer) next(n int, answered bool, patience time.Duration) (late []*ticket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flying -= n
	if answered {
		c.limit = min(max(2*c.limit, 1), maxGroup)
	} else {
		c.limit = max(c.limit/2, 1)
		for len(c.waiting) > 0 && time.Since(c.waiting[0].came) > patience {
			late, c.waiting = append(late, c.waiting[0]), c.waiting[1:]
		}
	}
	if len(c.waiting) == 0 || c.flying >= c.eager {
		return late // the next one comes when that is back which is under way
	}
	size, bytes := 1, c.waiting[0].op.Size()
	for ; size < min(len(c.waiting), c.limit); size++ {
		if bytes += c.waiting[size].op.Size(); bytes > maxGroupBytes {
			break
		}
	}
	group := c.waiting[:size:size]
	c.waiting = c.waiting[size:]
	c.flying += size
	group[0].turn <- group
	return late
}
