// Package scripts holds the one Lua script on the request path and knows its call: keys and arguments on the way in,
// answers on the way out. It decides nothing.
package scripts

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/redis/rueidis"
)

//go:embed idempotency.lua
var source string

// Call is one call of the script: a list of operations that Redis does at once. It may be run again and again with
// other operations, and keeps its memory for that; by one goroutine at a time.
type Call struct {
	Metrics string // key of the metrics hash
	Flushed string // key of the calling process's flush number

	Settle  time.Duration // 0: no settling
	Lease   time.Duration // what a claim or a renewal gets
	Classes []Class       // at most MaxClasses; an operation names its own by its place
	Class   *Class        // in place of Classes: of the operations that name none (Op.In)

	// Acks is how many replicas of Redis must have what the call wrote, waited for no longer than a third of Timeout,
	// which is that of the whole call; 0: none.
	Acks    int
	Timeout time.Duration

	Flush Flush
	Ops   []Op
	Trail Trail

	// The memory of its arguments, and of the answers.
	text       []byte
	written    int // bytes of text that are arguments
	keys, args []string
	in         []*Class // what Classes are copies of
	opened     int      // operations before Ops, that tell how many tokens a class has
	answers    []Answer
	told       string // the history of the last reply, as the script writes it
	history    History
}

// Class is the settings that an operation goes by.
type Class struct {
	TTL         time.Duration // of a record, from its last write
	RejectedTTL time.Duration // of a result with a status of 4xx
	DoubtTTL    time.Duration // of verdicts and, with StopInDoubt, of every record in progress or in doubt
	MaxAttempts int           // how often a webhook's executions may fail; 0: no limit
	StopInDoubt bool          // an attempt whose predecessor is in doubt is not begun

	// Tokens is the key where it stands how many executions may begin: one more each Every, and at most Burst after a
	// rest. A claim that begins one takes a token; "": they need none.
	Tokens string
	Every  time.Duration
	Burst  int

	// Counters is put before the names of transitions that are counted once more, beside the totals; "": they are not.
	// It has no space, and does not begin with "-".
	Counters string
}

// Trail is where the script tells of the transitions that it makes, and how many it keeps there: Keep, or as many more
// as Redis finds cheaper to keep. The zero Trail is none.
type Trail struct {
	Stream string // a key of the call's hash slot
	Keep   int
}

// Bounds of a call.
const (
	MaxClasses    = 1000
	MaxIncrements = 256
)

// Flush adds counters up in the metrics hash, once however often it is sent.
type Flush struct {
	Number   uint64      // grows by one with each flush of a process; 0: nothing to flush
	Counters []Increment // at most MaxIncrements
}

// Increment is what one counter grows by.
type Increment struct {
	Field string // without spaces
	By    int64
}

// form is the number of the call's form. Only a script that takes it must get it.
const form = "1"

// Run makes the call. The answers of the reply are memory of the Call, valid until it is run again; what they point to
// may be kept. An error means that no answer is known: the operations may or may not have been done.
func (c *Call) Run(ctx context.Context, client rueidis.Client) (Reply, error) {
	if c.Class != nil {
		c.classify()
	}
	if len(c.Classes) > MaxClasses || len(c.Flush.Counters) > MaxIncrements {
		return Reply{}, fmt.Errorf("script: %d classes and %d counters are more than %d and %d", len(c.Classes),
			len(c.Flush.Counters), MaxClasses, MaxIncrements)
	}
	for i := range c.Ops {
		if class := c.Ops[i].Class; class < 0 || class >= len(c.Classes) {
			return Reply{}, fmt.Errorf("script: operation %d is of class %d of %d", i, class, len(c.Classes))
		}
	}
	c.write()
	message, acked, err := c.send(ctx, client)
	var values []rueidis.RedisMessage
	if err == nil {
		values, err = message.ToArray()
	}
	if err != nil {
		c.drop()
		if len(c.Ops) == 0 { // a heartbeat, or counters alone
			return Reply{}, fmt.Errorf("script: %w", err)
		}
		return Reply{}, fmt.Errorf("script on %d records: %w", len(c.Ops), err)
	}
	reply, err := c.read(values)
	if acked < c.Acks {
		reply.short(acked, c.Acks)
	}
	return reply, err
}

// classify makes the list of the classes that operations go by.
func (c *Call) classify() {
	c.Classes, c.in = c.Classes[:0], c.in[:0]
	for i := range c.Ops {
		op := &c.Ops[i]
		in := cmp.Or(op.in, c.Class)
		if op.Class = slices.Index(c.in, in); op.Class < 0 {
			op.Class = len(c.in)
			c.in, c.Classes = append(c.in, in), append(c.Classes, *in)
		}
	}
}

// drop gives the memory of the arguments up: a call that timed out may still have to be written to its connection.
func (c *Call) drop() { c.text, c.keys, c.args = nil, nil, nil }

// write makes the keys and arguments. They are slices of text: where it grows, those that were made before keep what
// it was.
func (c *Call) write() {
	c.text, c.written, c.args = c.text[:0], 0, c.args[:0]
	c.keys = append(c.keys[:0], c.Metrics, c.Flushed)
	if c.Trail.Keep == 0 {
		c.args = append(c.args, form)
	} else {
		c.text = append(c.text, form+" "...)
		c.number(int64(c.Trail.Keep))
	}
	c.number(c.Settle.Milliseconds())
	c.number(c.Lease.Milliseconds())
	c.number(int64(c.Flush.Number))
	c.number(int64(len(c.Classes)))
	for i := range c.Classes {
		class := &c.Classes[i]
		c.number(class.TTL.Milliseconds())
		c.text = append(c.text, flag(class.StopInDoubt))
		if class.Counters == "" {
			c.text = append(c.text, '-')
		}
		c.text = append(append(c.text, class.Counters...), ' ')
		c.text = append(strconv.AppendInt(c.text, class.DoubtTTL.Milliseconds(), 10), ' ')
		c.text = append(strconv.AppendInt(c.text, class.RejectedTTL.Milliseconds(), 10), ' ')
		c.number(int64(class.MaxAttempts))
	}
	if c.Flush.Number > 0 {
		for _, counter := range c.Flush.Counters {
			c.text = append(append(c.text, counter.Field...), ' ')
			c.text = append(strconv.AppendInt(c.text, counter.By, 10), ' ')
		}
		c.argument()
	}
	c.open()
	for i := range c.Ops {
		op := &c.Ops[i]
		c.keys = append(c.keys, op.key)
		c.text = op.appendHead(c.text)
		c.argument()
		switch op.letter {
		case store, resolve:
			c.args = append(c.args, op.text, op.bytes)
		case restore:
			c.args = append(c.args, op.bytes)
		}
		if c.Trail.Keep > 0 && (op.letter == claim || op.letter == store || op.letter == fail) {
			c.args = append(c.args, cmp.Or(op.note, noNote))
		}
	}
	if c.Trail.Keep > 0 {
		c.keys = append(c.keys, c.Trail.Stream)
	}
}

// open makes the operations that count the tokens of each class that claims with them.
func (c *Call) open() {
	c.opened = 0
	for i := range c.Classes {
		class := &c.Classes[i]
		claims := func(o Op) bool { return o.letter == claim && o.Class == i }
		if class.Tokens == "" || !slices.ContainsFunc(c.Ops, claims) {
			continue
		}
		c.opened++
		c.keys = append(c.keys, class.Tokens)
		c.text = append(appendDigits(append(c.text, tokens), i), ' ')
		c.text = append(strconv.AppendInt(c.text, class.Every.Microseconds(), 10), ' ')
		c.number(int64(class.Burst))
	}
}

func (c *Call) number(n int64) {
	c.text = strconv.AppendInt(c.text, n, 10)
	c.argument()
}

// argument makes an argument of the text behind the last one.
func (c *Call) argument() {
	text := c.text[c.written:]
	c.args = append(c.args, unsafe.String(unsafe.SliceData(text), len(text)))
	c.written = len(c.text)
}
