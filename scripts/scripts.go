// Package scripts holds the one Lua script on the request path and knows its call: keys and arguments on the way in,
// answers on the way out. It decides nothing.
package scripts

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/record"
)

//go:embed idempotency.lua
var source string

// Call is one call of the script: a list of operations that Redis does at once.
type Call struct {
	Metrics string // key of the metrics hash
	Flushed string // key of the calling process's flush number

	Settle time.Duration // 0: no settling
	Lease  time.Duration // what a claim or a renewal gets
	TTL    time.Duration // of a record, from its last write

	MaxAttempts int           // how often a webhook's executions may fail; 0: no limit
	StopInDoubt bool          // an attempt whose predecessor is in doubt is not begun
	DoubtTTL    time.Duration // of verdicts and, with StopInDoubt, of every record in progress or in doubt

	// Acks is how many replicas of Redis must have what the call wrote, waited for no longer than a third of Timeout,
	// which is that of the whole call; 0: none.
	Acks    int
	Timeout time.Duration

	Flush Flush
	Ops   []Op
}

// Flush adds counters up in the metrics hash, once however often it is sent.
type Flush struct {
	Number   uint64 // grows by one with each flush of a process; 0: nothing to flush
	Counters []Increment
}

// Increment is what one counter grows by.
type Increment struct {
	Field string
	By    int64
}

// Op is one operation on one record, made by the functions below.
type Op struct {
	key  string
	args []string
}

// Size is how many bytes its arguments have.
func (o Op) Size() (bytes int) {
	for _, arg := range o.args {
		bytes += len(arg)
	}
	return bytes
}

// Question is what a claim wants to know, and under which conditions it claims.
type Question struct {
	First  bool          // the request's first look: a result found is counted by the script
	Digest record.Digest // of the body that would be executed
	Reject bool          // claim nothing after an attempt in doubt that had another body
	Asks   bool          // the logic finds out what became of an attempt in doubt before it acts
}

// Claim asks: mine, someone's, or done?
func Claim(key, token string, q Question) Op {
	return Op{key, []string{"claim", token, flag(q.First), q.Digest.Hex(), flag(q.Reject), flag(q.Asks)}}
}

// Look asks the same and claims nothing.
func Look(key string, q Question) Op {
	return Op{key, []string{"look", flag(q.First), flag(q.Asks)}}
}

// Renew gives a running attempt another lease. Doubt and failures are those that its claim was told.
func Renew(key string, attempt int64, token string, digest record.Digest, doubt bool, failures int64) Op {
	return Op{key, []string{
		"renew", strconv.FormatInt(attempt, 10), token, digest.Hex(), flag(doubt), strconv.FormatInt(failures, 10),
	}}
}

// Store ends an attempt with its result, which answers duplicates for ttl. The record has its attempt, token, state
// (done or sealed), digest and result.
func Store(key string, r record.Record, ttl time.Duration) Op {
	return Op{key, append([]string{"store", strconv.FormatInt(r.Attempt, 10), r.Token}, result(r, ttl)...)}
}

// Resolve gives the attempt that stands the result that a person found out. The record has the number of that attempt,
// a state, digest and result.
func Resolve(key string, r record.Record, ttl time.Duration) Op {
	return Op{key, append([]string{"resolve", strconv.FormatInt(r.Attempt, 10)}, result(r, ttl)...)}
}

func result(r record.Record, ttl time.Duration) []string {
	return []string{
		millis(ttl), string(r.State), r.Digest.Hex(), strconv.Itoa(r.Result.Status), r.Kind(),
		rueidis.BinaryString(r.Result.Body),
	}
}

// Restore puts a done or failed record back, as it was.
func Restore(key string, value []byte) Op {
	return Op{key, []string{"restore", rueidis.BinaryString(value)}}
}

// Fail ends an attempt without a result. Attempt 0 stands for a claim whose reply never came. The reason is one word.
// Doubt (an attempt before it may have had its effect) and failures are those that its claim was told.
func Fail(key string, attempt int64, token, reason string, digest record.Digest, doubt bool, failures int64) Op {
	body := digest.Hex()
	if digest == (record.Digest{}) {
		body = "-"
	}
	return Op{key, []string{
		"fail", strconv.FormatInt(attempt, 10), token, reason, body, flag(doubt), strconv.FormatInt(failures, 10),
	}}
}

// Forget makes the next webhook execute again; force also where one is running.
func Forget(key string, force bool) Op {
	return Op{key, []string{"forget", flag(force), "0"}}
}

// ForgetVerdict does the same where the verdict on this attempt stands. Otherwise it is refused.
func ForgetVerdict(key string, attempt int64) Op {
	return Op{key, []string{"forget", "0", strconv.FormatInt(attempt, 10)}}
}

func flag(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

// Verdict is the first word of an answer.
type Verdict string

// The verdicts; the script's head says what each means.
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
	Resolved   Verdict = "resolved"
	Restored   Verdict = "restored"
	Refused    Verdict = "refused"
	Expired    Verdict = "expired"
	Missing    Verdict = "missing"
	Running    Verdict = "running"
	Foreign    Verdict = "foreign"
	Error      Verdict = "error"
)

// Answer is what the script says to one operation.
type Answer struct {
	Verdict  Verdict
	Attempt  int64         // Claimed
	Doubt    bool          // Claimed: an earlier attempt may have had its effect
	Failures int64         // Claimed: of the attempts before it
	Before   string        // Claimed: how the attempt before ended, "": there is none; Free: also "nothing" or "expired"
	Left     time.Duration // InProgress: of the lease; Settling: of the settling
	Digest   record.Digest // InProgress, Mismatch: of the body that is, or was, executed
	Record   []byte        // Done, Refused, Failed, Poisoned, Doubtful: what stands; Done and empty: no room for it
	Text     string        // Error: Redis' words; Foreign: the form of another version of ours, "" where it is none
}

// Reply is what the script says to a call.
type Reply struct {
	History  History
	Now      time.Time     // by Redis' clock, to the millisecond
	Settling time.Duration // left of it; 0: settled
	Flushed  bool          // the flush was taken, now or before
	Counted  bool          // the transitions were counted; false where Redis is full
	// fewer replicas than Call.Acks have it: what was claimed, stored or found is answered as an Error
	Short   bool
	Answers []Answer // one an operation, in their order
}

// History names Redis' line of data. It changes when Redis may have forgotten: a promotion, a restart, FLUSHALL.
// The zero History says nothing.
type History struct {
	ID  string
	Met int64 // Unix ms
}

// form is the number of the call's form. Only a script that takes it must get it.
const form = "1"

// Run sends the call. An error means that no answer is known: the operations may or may not have been done.
func Run(ctx context.Context, client rueidis.Client, call Call) (Reply, error) {
	keys := make([]string, 2, 2+len(call.Ops))
	keys[0], keys[1] = call.Metrics, call.Flushed
	args := make([]string, 0, 9+2*len(call.Flush.Counters)+9*len(call.Ops))
	args = append(args, form, millis(call.Settle), millis(call.Lease), millis(call.TTL),
		strconv.Itoa(call.MaxAttempts), flag(call.StopInDoubt), millis(call.DoubtTTL), strconv.FormatUint(call.Flush.Number,
			10), strconv.Itoa(len(call.Flush.Counters)))
	for _, c := range call.Flush.Counters {
		args = append(args, c.Field, strconv.FormatInt(c.By, 10))
	}
	for _, op := range call.Ops {
		keys = append(keys, op.key)
		args = append(args, op.args...)
	}
	message, acked, err := send(ctx, client, call, keys, args)
	var values []rueidis.RedisMessage
	if err == nil {
		values, err = message.ToArray()
	}
	if err != nil {
		if len(call.Ops) == 0 { // a heartbeat, or counters alone
			return Reply{}, fmt.Errorf("script: %w", err)
		}
		return Reply{}, fmt.Errorf("script on %d records: %w", len(call.Ops), err)
	}
	reply, err := parse(values, len(call.Ops))
	if acked < call.Acks {
		reply.short(acked, call.Acks)
	}
	return reply, err
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// head is how many values of a reply stand before the answers.
const head = 6

func parse(values []rueidis.RedisMessage, ops int) (Reply, error) {
	if len(values) != head+ops {
		return Reply{}, fmt.Errorf("script: %d values in its reply, not %d", len(values), head+ops)
	}
	r := reader{values: values}
	reply := Reply{
		History:  History{ID: r.text(), Met: r.integer()},
		Now:      time.UnixMilli(r.integer()),
		Settling: time.Duration(r.integer()) * time.Millisecond,
		Flushed:  r.integer() == 1,
		Counted:  r.integer() == 1,
		Answers:  make([]Answer, ops),
	}
	for i := range reply.Answers {
		reply.Answers[i] = r.answer()
	}
	if r.err != nil {
		return Reply{}, fmt.Errorf("script: its reply: %w", r.err)
	}
	return reply, nil
}

// reader takes values from the left and remembers the first that was not what it should be.
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

// bytes are the reply's own memory.
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

func (r *reader) answer() Answer {
	values, err := r.next().ToArray()
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
	case Settling:
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
