// Package record converts records between their bytes in Redis and Go. Besides it, only the script
// (scripts/idempotency.lua) writes this form.
//
// A record is one line of text. If it is done, the bytes of the result follow:
//
//	P1 <attempt> <token> <digest> <renewed> <lease> <started> <doubt> <failures> <past>\n
//	D1 <attempt> <token> <digest> <stored> <lives> <status> <past> <content type> [<header>:<value> …]\n<result>
//	S1 <attempt> <token> <digest> <stored> <lives> <status> <past> <key id>\n<sealed result>
//	F1 <attempt> <token> <digest> <failed> <reason> <started> <doubt> <failures> <verdict> <past>\n
//
// The first byte is the state, the second the version of the form. Times are Unix milliseconds by Redis' own clock;
// lease and lives are numbers of milliseconds, counted from renewed and from stored. A digest's 16 bytes are 22
// characters of base64url. Doubt is 0 or 1. The digest and verdict of a failed record, and every past, may be "-" for
// none; as a content type "-" stands for application/json. A reader ignores fields after those that it knows; in a done
// record it ignores those without a colon.
package record

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// State is a record's first byte.
type State byte

// The states of a record. A sealed record is a done one whose result can be read only with its key.
const (
	InProgress State = 'P'
	Done       State = 'D'
	Sealed     State = 'S'
	Failed     State = 'F'
)

// Verdict says why a webhook is not executed again until a person decides. A failed record may have one.
type Verdict string

// The verdicts.
const (
	NoVerdict Verdict = ""
	Poisoned  Verdict = "poisoned" // its executions failed MAX_ATTEMPTS times
	Doubtful  Verdict = "doubtful" // an attempt may have had its effect
)

// Expired is the reason of a failed record whose execution never reported its end: its lease ran out.
const Expired = "expired"

const version = '1'

// maxHeader bounds the line of a record in bytes, its newline included. A value with a longer line is foreign.
const maxHeader = 4096

// MaxKeyID bounds the id of a key in a sealed record, in bytes.
const MaxKeyID = 32

// Person is the token of a record that a person left behind: a failed one (`oncegate forget`) or a done one (`oncegate
// resolve`). No execution has this token.
const Person = "-"

// none stands for a field that a record does not have.
const none = "-"

// ErrForeign says that no version of Oncegate wrote the value.
var ErrForeign = errors.New("not a record of oncegate")

// Digest identifies a request body. It is the first 16 bytes of the body's SHA-256 or, if results are sealed, of an
// HMAC of these bytes.
type Digest [16]byte

// DigestLength is the number of characters of a digest in a record.
const DigestLength = 22

// base64url has one text for 16 bytes: the unused bits of the last character are 0.
var base64url = base64.RawURLEncoding.Strict()

// AppendText appends the characters of a digest in a record.
func (d Digest) AppendText(dst []byte) []byte { return base64url.AppendEncode(dst, d[:]) }

// Hex returns the 32 digits that people read.
func (d Digest) Hex() string {
	var digits [2 * len(d)]byte
	hex.Encode(digits[:], d[:])
	return string(digits[:])
}

// ParseDigest reads the characters of a digest in a record.
func ParseDigest(text string) (d Digest, err error) {
	if !d.decode([]byte(text)) {
		return Digest{}, fmt.Errorf("digest %.40q: not %d characters of base64url", text, DigestLength)
	}
	return d, nil
}

// decode reports whether text is a digest. The decoder would ignore line ends in it, of which a field has none.
func (d *Digest) decode(text []byte) bool {
	if len(text) != DigestLength {
		return false
	}
	n, err := base64url.Decode(d[:], text)
	return err == nil && n == len(d)
}

// Record is a parsed record. Fields that its state does not have are zero.
type Record struct {
	State   State
	Attempt int64  // 1 for the first execution; 0 only in the failed record of a claim that was never answered
	Token   string // token of the execution that wrote the record, or Person

	Deadline time.Time     // in progress: the lease holds until then
	Lease    time.Duration // in progress: its length; it was written that long before Deadline
	Started  time.Time     // in progress, failed: when this attempt was claimed

	Digest Digest // of the body that is, or was, executed; zero in a failed record without one

	Stored time.Time // done
	Ends   time.Time // done: when Redis drops the record
	Result Result    // done; Body aliases the parsed value. Sealed: the status, and the sealed bytes as the body
	KeyID  string    // sealed: the id of the key that opens the result

	Doubt    bool  // an earlier attempt may have had its effect; failed: or this attempt
	Failures int64 // failures and crashes since the last forget; failed: this one included

	FailedAt time.Time // failed
	Reason   string    // failed: one word, no payload data
	Verdict  Verdict   // failed

	Past string // the attempts before this one, in the form that Attempts reads; "": none is known
}

// HasResult reports whether the record is done, sealed or not.
func (r *Record) HasResult() bool { return r.State == Done || r.State == Sealed }

// Forgotten reports whether a person had this webhook forgotten.
func (r *Record) Forgotten() bool { return r.State == Failed && r.Token == Person }

// MaxValue bounds the bytes of a record: the largest result that a setting allows (64 MiB), the line, and the same
// again for what sealing adds. The script has the same number.
const MaxValue = 64<<20 + 2*maxHeader

// Parse reads a record. The result's body aliases value. The error is ErrForeign if no version of Oncegate wrote the
// value.
func Parse(value []byte) (Record, error) {
	line, _, found := bytes.Cut(value[:min(len(value), maxHeader)], []byte{'\n'})
	if !found || len(value) > MaxValue || len(line) < 3 || line[1] != version || line[2] != ' ' {
		return Record{}, ErrForeign
	}
	body := value[len(line)+1:]
	h := header{rest: line[3:]}
	r := Record{State: State(line[0]), Attempt: h.integer(), Token: h.text()}
	switch r.State {
	case InProgress, Done, Sealed:
		r.Digest = h.digest()
	case Failed:
		r.Digest = h.optionalDigest()
	}
	switch r.State {
	case InProgress:
		renewed := h.time()
		r.Lease, r.Started = h.length(), h.time()
		r.Deadline = renewed.Add(r.Lease)
		r.Doubt, r.Failures, r.Past = h.flag(), h.integer(), h.optional()
	case Done:
		r.Stored = h.time()
		r.Ends = r.Stored.Add(h.length())
		r.Result = Result{Status: int(h.integer()), Body: body}
		r.Past = h.optional()
		r.Result.ContentType, r.Result.Headers = h.contentType(), h.headers()
		if h.err == nil {
			h.err = r.Result.checkFields() // every result that we write was checked
		}
	case Sealed:
		r.Stored = h.time()
		r.Ends = r.Stored.Add(h.length())
		r.Result = Result{Status: int(h.integer()), Body: body}
		if r.Past, r.KeyID = h.optional(), h.text(); len(r.KeyID) > MaxKeyID {
			h.fail("the key's id is too long")
		}
		if !isFinal(r.Result.Status) {
			h.fail("the status is none that a result has")
		}
	case Failed:
		r.FailedAt, r.Reason, r.Started = h.time(), h.text(), h.time()
		r.Doubt, r.Failures, r.Verdict, r.Past = h.flag(), h.integer(), h.verdict(), h.optional()
	default:
		return Record{}, ErrForeign
	}
	if h.err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrForeign, h.err)
	}
	return r, nil
}

// header reads the fields of a line from the left, separated by spaces, and remembers the first error.
type header struct {
	rest []byte
	err  error
}

func (h *header) field() []byte {
	field, rest, _ := bytes.Cut(h.rest, []byte{' '})
	h.rest = rest
	if len(field) == 0 {
		h.fail("a field is missing")
	}
	return field
}

func (h *header) fail(what string) {
	if h.err == nil {
		h.err = errors.New(what)
	}
}

// maxInteger is the number from which Lua does not count exactly (2^53): the script writes only smaller ones.
const maxInteger = 1 << 53

func (h *header) integer() int64 {
	var n int64
	for _, c := range h.field() {
		if c < '0' || c > '9' || n > maxInteger/10 {
			h.fail("a number is malformed")
			return 0
		}
		n = 10*n + int64(c-'0')
	}
	if n >= maxInteger {
		h.fail("a number is too large")
	}
	return n
}

func (h *header) time() time.Time { return time.UnixMilli(h.integer()) }

// maxLength bounds a length of time. It is far above any lease and any TTL, and fits into a time.Duration.
const maxLength = 100 * 365 * 24 * time.Hour

func (h *header) length() time.Duration {
	ms := h.integer()
	if ms > maxLength.Milliseconds() {
		h.fail("a length of time is too long")
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

func (h *header) text() string { return string(h.field()) }

// optional reads a text, and returns "" if the field is "-".
func (h *header) optional() string {
	field := h.field()
	if string(field) == none {
		return ""
	}
	return string(field)
}

func (h *header) flag() bool {
	field := h.field()
	if len(field) != 1 || field[0] != '0' && field[0] != '1' {
		h.fail("a flag is malformed")
		return false
	}
	return field[0] == '1'
}

func (h *header) verdict() Verdict {
	v := Verdict(h.optional())
	switch v {
	case NoVerdict, Poisoned, Doubtful:
	default:
		h.fail("a verdict is unknown")
	}
	return v
}

func (h *header) optionalDigest() Digest {
	if bytes.HasPrefix(h.rest, []byte(none+" ")) {
		h.rest = h.rest[len(none)+1:]
		return Digest{}
	}
	return h.digest()
}

func (h *header) digest() (d Digest) {
	if !d.decode(h.field()) {
		h.fail("the digest is malformed")
	}
	return d
}

func (h *header) contentType() string {
	field := h.field()
	if string(field) == none {
		return JSON
	}
	return h.unescape(field)
}

func (h *header) unescape(field []byte) string {
	text, err := url.PathUnescape(string(field)) // undoes any %XX
	if err != nil || strings.ContainsFunc(text, unicode.IsControl) {
		h.fail("a text is malformed")
	}
	return text
}

// headers reads the rest of the line as headers.
func (h *header) headers() (headers []Header) {
	for len(h.rest) > 0 && h.err == nil {
		if name, value, ok := bytes.Cut(h.field(), []byte{':'}); ok {
			headers = append(headers, Header{string(name), h.unescape(value)})
		}
	}
	return headers
}

// Append appends a record's bytes, which are the same that the script writes. It cuts times to milliseconds.
func Append(dst []byte, r Record) []byte {
	dst = append(dst, byte(r.State), version)
	dst = appendInteger(dst, r.Attempt)
	dst = appendField(dst, r.Token)
	if dst = append(dst, ' '); r.State == Failed && r.Digest == (Digest{}) {
		dst = append(dst, none...)
	} else {
		dst = r.Digest.AppendText(dst)
	}
	switch r.State {
	case InProgress:
		dst = appendTime(dst, r.Deadline.Add(-r.Lease.Truncate(time.Millisecond)))
		dst = appendInteger(dst, r.Lease.Milliseconds())
		dst = appendTime(dst, r.Started)
		dst = appendFlag(dst, r.Doubt)
		dst = appendInteger(dst, r.Failures)
		dst = appendOptional(dst, r.Past)
	case Done, Sealed:
		dst = appendTime(dst, r.Stored)
		dst = appendInteger(dst, max(r.Ends.UnixMilli()-r.Stored.UnixMilli(), 0))
		dst = appendInteger(dst, int64(r.Result.Status))
		dst = appendOptional(dst, r.Past)
		dst = appendField(dst, r.Kind())
	case Failed:
		dst = appendTime(dst, r.FailedAt)
		dst = appendField(dst, r.Reason)
		dst = appendTime(dst, r.Started)
		dst = appendFlag(dst, r.Doubt)
		dst = appendInteger(dst, r.Failures)
		dst = appendOptional(dst, string(r.Verdict))
		dst = appendOptional(dst, r.Past)
	}
	dst = append(dst, '\n')
	return append(dst, r.Result.Body...)
}

// Kind returns what follows the past in the line of a done or sealed record: the content type and the headers, or the
// id of the key.
func (r *Record) Kind() string {
	if r.State == Sealed {
		return r.KeyID
	}
	return r.Result.Kind()
}

func appendOptional(dst []byte, text string) []byte {
	if text == "" {
		text = none
	}
	return appendField(dst, text)
}

func appendFlag(dst []byte, set bool) []byte {
	if set {
		return appendInteger(dst, 1)
	}
	return appendInteger(dst, 0)
}

func appendField(dst []byte, text string) []byte { return append(append(dst, ' '), text...) }

// appendTime appends a time. A time before 1970 becomes 0, as does the zero time of a record that lacks one.
func appendTime(dst []byte, t time.Time) []byte { return appendInteger(dst, max(t.UnixMilli(), 0)) }

func appendInteger(dst []byte, n int64) []byte { return strconv.AppendInt(append(dst, ' '), n, 10) }
