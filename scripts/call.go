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

// Call is one call of the script: a list of operations that Redis does atomically. It may be run again with other
// operations, and then uses its memory again. It is for one goroutine at a time.
type Call struct {
	Metrics string // key of the metrics hash
	Flushed string // key of the calling process's flush number

	Settle  time.Duration // 0: no settling
	Lease   time.Duration // the lease that a claim or a renewal gets
	Classes []Class       // at most MaxClasses; an operation names its class by its index
	Class   *Class        // of the operations that name none (Op.In); instead of Classes

	// Acks is how many Redis replicas must acknowledge what the call wrote; 0: none. They are waited for no longer than a
	// third of Timeout, which bounds the whole call.
	Acks    int
	Timeout time.Duration

	Flush Flush
	Ops   []Op
	Trail Trail

	// The memory of the arguments and of the answers.
	text       []byte
	written    int // bytes of text that are arguments already
	keys, args []string
	in         []*Class // the classes that Classes are copies of
	opened     int      // operations before Ops that count the tokens of classes
	answers    []Answer
	told       string // the history of the last reply, as the script writes it
	history    History
}

// Class is the settings that apply to an operation.
type Class struct {
	TTL         time.Duration // of a record, from its last write
	RejectedTTL time.Duration // of a result with a status of 4xx
	DoubtTTL    time.Duration // of verdicts and, with StopInDoubt, of every record in progress or in doubt
	MaxAttempts int           // how many of a webhook's executions may fail; 0: no limit
	StopInDoubt bool          // no attempt begins after one that is in doubt

	// Tokens is the key that holds how many executions may begin; "": there is no limit. A claim that begins an execution
	// takes a token. One more token comes each Every; at most Burst of them gather.
	Tokens string
	Every  time.Duration
	Burst  int

	// Counters is a prefix: each transition is counted under its name, and once more under Counters and its name; "": not.
	// Counters has no space, and does not begin with "-".
	Counters string
}

// Trail is the stream in which the script writes the transitions that it makes, and how many it keeps: Keep, or as many
// more as Redis finds cheaper to keep. The zero Trail is none.
type Trail struct {
	Stream string // a key of the call's hash slot
	Keep   int
}

// Bounds of a call.
const (
	MaxClasses    = 1000
	MaxIncrements = 256
)

// Flush adds counters up in the metrics hash. It is added once, however often it is sent.
type Flush struct {
	Number   uint64      // grows by one with each flush of a process; 0: nothing to flush
	Counters []Increment // at most MaxIncrements
}

// Increment is the number that one counter grows by.
type Increment struct {
	Field string // without spaces
	By    int64
}

// form is the number of the call's form. A script that does not understand the form must not get the call.
const form = "1"

// Run makes the call. The answers in the reply are memory of the Call, valid until it is run again; the records they
// point to may be kept. An error means that no answer is known: the operations may or may not have been done.
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
		if len(c.Ops) == 0 { // a heartbeat, or only counters
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

// classify lists the classes of the operations, once each.
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

// drop gives up the memory of the arguments, because a call that timed out may still be written to its connection.
func (c *Call) drop() { c.text, c.keys, c.args = nil, nil, nil }

// write makes the keys and arguments. They are slices of text. When text grows it moves, and the slices made before
// keep the old memory.
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

// open makes, for each class that claims take tokens of, the operation that counts its tokens.
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

// argument appends the text behind the last argument as the next argument.
func (c *Call) argument() {
	text := c.text[c.written:]
	c.args = append(c.args, unsafe.String(unsafe.SliceData(text), len(text)))
	c.written = len(c.text)
}
