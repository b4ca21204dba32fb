package scripts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/record"
)

// Verdict is the first word of an answer.
type Verdict string

// The verdicts; the head of the script says what each means.
const (
	Claimed    Verdict = "claimed"
	Free       Verdict = "free"
	Mismatch   Verdict = "mismatch"
	Poisoned   Verdict = "poisoned"
	Doubtful   Verdict = "doubtful"
	InProgress Verdict = "progress"
	Done       Verdict = "done"
	Cancelled  Verdict = "cancelled"
	Settling   Verdict = "settling"
	Renewed    Verdict = "renewed"
	Stored     Verdict = "stored"
	Failed     Verdict = "failed"
	Forgotten  Verdict = "forgotten"
	Announced  Verdict = "announced"
	Resolved   Verdict = "resolved"
	Restored   Verdict = "restored"
	Refused    Verdict = "refused"
	Expired    Verdict = "expired"
	Missing    Verdict = "missing"
	Running    Verdict = "running"
	Foreign    Verdict = "foreign"
	Limited    Verdict = "limited"
	Error      Verdict = "error"
)

// Answer is the script's answer to one operation. Behind each field are the verdicts that set it.
type Answer struct {
	Verdict  Verdict
	Attempt  int64         // Claimed
	Doubt    bool          // Claimed: an earlier attempt may have had its effect
	Failures int64         // Claimed: of the attempts before it
	Before   string        // Claimed: how the attempt before ended, "": there was none; Free: also "nothing" or "expired"
	Left     time.Duration // InProgress: of the lease; Settling: of settling; Limited: until an execution may begin
	Digest   record.Digest // InProgress, Mismatch: of the body that is, or was, executed
	Record   []byte        // Done, Refused, Failed, Poisoned, Doubtful: as in Redis; Done and empty: it had no room
	Text     string        // Error: Redis' words; Foreign: the form of another version of ours, "" if there is none
}

// Reply is the script's reply to a call.
type Reply struct {
	History  History
	Now      time.Time     // by Redis' clock, to the millisecond
	Settling time.Duration // how long it still lasts; 0: Redis has settled
	Flushed  bool          // the flush was taken, now or before
	Counted  bool          // the transitions were counted; false if Redis is full
	// fewer Redis replicas than Call.Acks have it: an operation that claimed, stored or found something is answered Error
	Short   bool
	Answers []Answer // one for each operation, in their order
}

// History names Redis' line of data. It changes when Redis may have forgotten: a promotion, a restart, FLUSHALL.
// The zero History says nothing.
type History struct {
	ID  string
	Met int64 // Unix ms
}

// head is how many values a reply has before the answers.
const head = 4

// The flags of a reply.
const (
	flushed = 1
	counted = 2
)

// read makes a Reply of the script's reply.
func (c *Call) read(values []rueidis.RedisMessage) (Reply, error) {
	if n := len(values) - head; n < 0 || n > 0 && n != c.opened+len(c.Ops) {
		return Reply{}, fmt.Errorf("script: %d values in its reply to %d operations", len(values), c.opened+len(c.Ops))
	}
	r := reader{values: values}
	reply := Reply{
		History:  c.historyOf(r.text()),
		Now:      time.UnixMilli(r.integer()),
		Settling: r.length(),
	}
	flags := r.integer()
	reply.Flushed, reply.Counted = flags&flushed != 0, flags&counted != 0
	if len(values) > head {
		r.values = r.values[c.opened:]
	}
	c.answers = c.answers[:0]
	for i := range c.Ops {
		a := c.Ops[i].common()
		if len(values) > head {
			a = r.answer()
		}
		c.answers = append(c.answers, a)
	}
	if reply.Answers = c.answers; r.err != nil {
		return Reply{}, fmt.Errorf("script: its reply: %w", r.err)
	}
	return reply, nil
}

// common is the answer to the operation if the reply leaves the answers out.
func (o *Op) common() Answer {
	if o.letter == claim {
		return begun
	}
	return Answer{Verdict: Stored}
}

var begun = Answer{Verdict: Claimed, Attempt: 1}

// historyOf reads "<id> <ms it was met>". Nearly always it is the text of the reply before.
func (c *Call) historyOf(told string) History {
	if told != c.told {
		id, met, _ := strings.Cut(told, " ")
		ms, _ := strconv.ParseInt(met, 10, 64) // the script has checked that it is a number, or there is no history
		c.told, c.history = strings.Clone(told), History{ID: strings.Clone(id), Met: ms}
	}
	return c.history
}

// reader takes values from the left and remembers the first one of an unexpected type.
type reader struct {
	values []rueidis.RedisMessage
	err    error
}

func (r *reader) next() *rueidis.RedisMessage {
	if len(r.values) == 0 {
		r.note(errors.New("it is too short"))
		return &rueidis.RedisMessage{}
	}
	m := &r.values[0]
	r.values = r.values[1:]
	return m
}

func (r *reader) note(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) text() string {
	s, err := r.next().ToString()
	if err != nil {
		r.note(err)
	}
	return s
}

// bytes returns a text. It is the reply's own memory.
func (r *reader) bytes() []byte {
	b, err := r.next().AsBytes()
	if err != nil {
		r.note(err)
	}
	return b
}

func (r *reader) integer() int64 {
	n, err := r.next().AsInt64()
	if err != nil {
		r.note(err)
	}
	return n
}

func (r *reader) length() time.Duration { return time.Duration(r.integer()) * time.Millisecond }

func (r *reader) digest() (d record.Digest) {
	d, err := record.ParseDigest(r.text())
	if err != nil {
		r.note(err)
	}
	return d
}

// number reads an answer that the script gives as a number.
func (r *reader) number(message *rueidis.RedisMessage) Answer {
	switch n, _ := message.AsInt64(); n {
	case 1:
		return begun
	case 2:
		return Answer{Verdict: Stored}
	case 3:
		return Answer{Verdict: Renewed}
	default:
		r.note(fmt.Errorf("%d is no answer", n))
		return Answer{}
	}
}

func (r *reader) answer() Answer {
	message := r.next()
	if message.IsInt64() {
		return r.number(message)
	}
	values, err := message.ToArray()
	if err != nil {
		r.note(err)
		return Answer{}
	}
	words := reader{values: values}
	a := Answer{Verdict: Verdict(words.text())}
	switch a.Verdict {
	case Claimed:
		a.Attempt, a.Doubt, a.Failures, a.Before = words.integer(), words.integer() == 1, words.integer(), words.text()
	case Free:
		a.Before = words.text()
	case InProgress:
		a.Left, a.Digest = words.length(), words.digest()
	case Settling, Limited:
		a.Left = words.length()
	case Mismatch:
		a.Digest = words.digest()
	case Done, Refused, Failed, Poisoned, Doubtful:
		a.Record = words.bytes()
	case Error, Foreign:
		a.Text = words.text()
	}
	if words.err != nil {
		r.note(words.err)
	}
	return a
}
