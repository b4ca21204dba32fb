package scripts

import (
	"strconv"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/record"
)

// Op is one operation on one record, made by the functions below.
type Op struct {
	Class  int    // index of the call's class that applies
	in     *Class // the class itself, instead of its index
	letter byte   // its name in the script
	key    string

	question Question
	attempt  int64
	failures int64
	status   int
	state    record.State
	flag     bool // doubt, or force
	token    string
	digest   record.Digest
	text     string // a reason, or a kind
	bytes    string // a result, or a record
	note     string
}

// The letters that name operations in the script.
const (
	claim    = 'c'
	look     = 'l'
	renew    = 'r'
	store    = 's'
	resolve  = 'v'
	restore  = 'p'
	fail     = 'f'
	forget   = 'x'
	announce = 'a'
	tokens   = 't'
)

// Question is what a claim wants to know, and the conditions under which it claims.
type Question struct {
	First  bool          // the request's first look: the script counts a result that it finds
	Digest record.Digest // of the body that would be executed
	Reject bool          // claim nothing after an attempt in doubt that had another body
	Asks   bool          // the logic finds out what became of an attempt in doubt before it acts
}

// Claim asks: mine, someone's, or done?
func Claim(key, token string, q Question) Op {
	return Op{letter: claim, key: key, token: token, question: q}
}

// Look asks the same and claims nothing.
func Look(key string, q Question) Op { return Op{letter: look, key: key, question: q} }

// Renew gives a running attempt another lease. Doubt and failures are those in the answer to its claim.
func Renew(key string, attempt int64, token string, digest record.Digest, doubt bool, failures int64) Op {
	return Op{
		letter: renew, key: key, attempt: attempt, token: token, digest: digest, flag: doubt, failures: failures,
	}
}

// Store ends an attempt with its result. The record has the attempt, token, state (done or sealed), digest and result.
// The result's body must not change until the call is over.
func Store(key string, r record.Record) Op { return ending(store, key, r) }

// Resolve gives the attempt in the record the result that a person found out. Of r it takes the attempt's number, a
// state, the digest and the result.
func Resolve(key string, r record.Record) Op { return ending(resolve, key, r) }

func ending(letter byte, key string, r record.Record) Op {
	return Op{
		letter: letter, key: key, attempt: r.Attempt, token: r.Token, digest: r.Digest, status: r.Result.Status,
		state: r.State, text: r.Kind(), bytes: rueidis.BinaryString(r.Result.Body),
	}
}

// Restore puts a done or failed record back, as it was. The value must not change until the call is over.
func Restore(key string, value []byte) Op {
	return Op{letter: restore, key: key, bytes: rueidis.BinaryString(value)}
}

// Fail ends an attempt without a result. Attempt 0 stands for a claim whose reply never came. The reason is one word.
// Doubt (an attempt before it may have had its effect) and failures are those in the answer to its claim.
func Fail(key string, attempt int64, token, reason string, digest record.Digest, doubt bool, failures int64) Op {
	return Op{
		letter: fail, key: key, attempt: attempt, token: token, text: reason, digest: digest, flag: doubt,
		failures: failures,
	}
}

// Forget makes the next webhook execute again; with force, also while one is running.
func Forget(key string, force bool) Op { return Op{letter: forget, key: key, flag: force} }

// ForgetVerdict does the same if the record has the verdict on this attempt. Otherwise it is refused.
func ForgetVerdict(key string, attempt int64) Op {
	return Op{letter: forget, key: key, attempt: attempt}
}

// Announce writes to a key that all replicas track, so that they learn that something may have been forgotten.
func Announce(key string) Op { return Op{letter: announce, key: key} }

// In returns the operation with its class; nil: the call's class.
func (o Op) In(c *Class) Op {
	o.in = c
	return o
}

// Noted returns the operation (a claim, a store or a fail) with a note for the trail: how many deliveries came since
// its webhook's last event, a space, and a text without spaces. "": no note.
func (o Op) Noted(note string) Op {
	o.note = note
	return o
}

// noNote is the note of an operation without one.
const noNote = "0 -"

// Size is about how many bytes the operation's arguments have.
func (o *Op) Size() int { return maxHead + len(o.token) + len(o.text) + len(o.bytes) + len(o.note) }

// maxHead is a bound on the bytes of an operation's first argument, without token and reason.
const maxHead = 96

// appendHead appends the operation's first argument.
func (o *Op) appendHead(b []byte) []byte {
	b = appendDigits(append(b, o.letter), o.Class)
	switch o.letter {
	case claim:
		b = o.question.append(b)
		b = append(append(append(b, ' '), o.token...), ' ')
		b = append(o.question.Digest.AppendText(b), ' ')
	case look:
		b = o.question.append(b)
	case renew:
		b = o.appendAttempt(b)
		b = o.appendKnown(o.digest.AppendText(append(b, ' ')))
	case store:
		b = o.appendAttempt(append(appendDigits(b, o.status), byte(o.state)))
		b = append(o.digest.AppendText(append(b, ' ')), ' ')
	case resolve:
		b = strconv.AppendInt(append(append(appendDigits(b, o.status), byte(o.state)), ' '), o.attempt, 10)
		b = o.digest.AppendText(append(b, ' '))
	case fail:
		b = append(o.appendAttempt(b), ' ')
		if o.digest == (record.Digest{}) {
			b = append(b, '-')
		} else {
			b = o.digest.AppendText(b)
		}
		b = o.appendKnown(append(append(b, ' '), o.text...))
	case forget:
		b = strconv.AppendInt(append(append(b, ' '), flag(o.flag), ' '), o.attempt, 10)
	}
	return b
}

func (q *Question) append(b []byte) []byte {
	return append(b, flag(q.First), flag(q.Reject), flag(q.Asks))
}

func (o *Op) appendAttempt(b []byte) []byte {
	b = strconv.AppendInt(append(b, ' '), o.attempt, 10)
	return append(append(b, ' '), o.token...)
}

// appendKnown appends what the answer to an attempt's claim said of earlier attempts.
func (o *Op) appendKnown(b []byte) []byte {
	return strconv.AppendInt(append(b, ' ', flag(o.flag), ' '), o.failures, 10)
}

// appendDigits appends a number of 0 to 999 as three digits.
func appendDigits(b []byte, n int) []byte {
	return append(b, byte('0'+n/100%10), byte('0'+n/10%10), byte('0'+n%10))
}

func flag(set bool) byte {
	if set {
		return '1'
	}
	return '0'
}
