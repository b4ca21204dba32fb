package handler

import (
	"bytes"
	"cmp"
	"errors"
	"strconv"
	"unicode/utf8"
)

const (
	// maxID bounds dialogId and nodeId, in bytes of UTF-8.
	maxID    = 512
	wantedID = "a non-empty string of at most 512 bytes"
)

// payload is a decoded webhook. Its slices point into the body or into scratch, and are valid until either changes.
type payload struct {
	dialogID, nodeID []byte // UTF-8 without escapes
	sequence         int64
	variables        []byte // the object's JSON text as it is in the body

	parts [][]byte // of another identity, in the form that its fingerprint is made of

	// scratch holds texts whose escapes were resolved. The next decode reuses it, so that a pooled payload allocates
	// nothing.
	scratch []byte
}

// FieldError says what is wrong with one field of a payload, or with the whole payload: then the field is "body". The
// message is a sentence for the author of a flow. It names types and offsets but no values, since these may be private.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func newFieldError(field, wanted, found string) FieldError {
	return FieldError{Field: field, Message: field + " must be " + wanted + ", but is " + found}
}

// decode reads a webhook's body and returns everything that is wrong with its fields, in a fixed order. A body that is
// not an object has no fields and is one error. After an error the payload must not be used.
func (p *payload) decode(body []byte) []FieldError {
	found, problem := p.find(body)
	if problem != "" {
		return []FieldError{newFieldError("body", "one JSON object in UTF-8", problem)}
	}
	p.scratch = p.scratch[:0] // find leaves a name in it
	var errs []FieldError
	for _, check := range [...]struct{ field, wanted, found string }{
		{"dialogId", wantedID, p.readID(found.dialogID, &p.dialogID)},
		{"nodeId", wantedID, p.readID(found.nodeID, &p.nodeID)},
		{"sequence", `a 64-bit integer (7 or "7")`, p.readSequence(found.sequence)},
		{"variables", "an object", p.readVariables(found.variables)},
	} {
		if check.found != "" {
			errs = append(errs, newFieldError(check.field, check.wanted, check.found))
		}
	}
	return errs
}

// fields are the top-level members that the gateway itself reads. The logic may read others.
type fields struct{ dialogID, nodeID, sequence, variables field }

type field struct {
	value []byte // JSON text as it is in the body; empty if there is none, the last if there are several
	times int    // how often the body holds the field
}

// find checks the whole body and returns its fields, or a sentence about what is wrong with the body.
func (p *payload) find(body []byte) (found fields, problem string) {
	if isWide(body) {
		return found, "in UTF-16 or UTF-32 (RFC 8259, section 8.1)"
	}
	if !utf8.Valid(body) {
		return found, "not valid UTF-8"
	}
	s := scanner{text: body}
	s.space()
	start := s.at
	s.begin()
	if s.problem == "" && body[start] != '{' {
		return found, kindOf(body[start:])
	}
	for s.more() {
		name, value := s.key(), s.value()
		p.scratch = p.scratch[:0]
		name, _ = p.text(name) // a lone surrogate becomes U+FFFD, which is in none of our names
		if f := found.named(name); f != nil {
			*f = field{value, f.times + 1}
		}
	}
	s.end()
	return found, s.problem
}

// isWide reports whether a body begins like JSON in UTF-16 or UTF-32: with a byte order mark, or with a NUL among its
// first two bytes.
func isWide(body []byte) bool {
	return bytes.HasPrefix(body, []byte{0xfe, 0xff}) || bytes.HasPrefix(body, []byte{0xff, 0xfe}) ||
		len(body) > 1 && (body[0] == 0 || body[1] == 0)
}

func (f *fields) named(name []byte) *field {
	switch string(name) {
	case "dialogId":
		return &f.dialogID
	case "nodeId":
		return &f.nodeID
	case "sequence":
		return &f.sequence
	case "variables":
		return &f.variables
	}
	return nil
}

// repeated is the error of a field of the identity that a body holds twice: another reader of the body might take the
// other one.
const repeated = "given more than once"

func (p *payload) readID(f field, id *[]byte) (problem string) {
	if f.times > 1 {
		return repeated
	}
	if kind := kindOf(f.value); kind != aString {
		return kind
	}
	text, whole := p.text(unquote(f.value))
	switch {
	case len(text) == 0:
		return "empty"
	case len(text) > maxID:
		return "longer"
	case !whole:
		return `cut within a character (a lone surrogate like \ud800)`
	case len(bytes.TrimSpace(text)) == 0:
		return "white space alone"
	}
	*id = text
	return placeholder(text)
}

func (p *payload) readSequence(f field) (problem string) {
	if f.times > 1 {
		return repeated
	}
	switch kind := kindOf(f.value); kind {
	case aNumber:
		p.sequence, problem = parseNumber(f.value)
	case aString:
		text, _ := p.text(unquote(f.value))
		if p.sequence, problem = parseDecimal(text); problem != "" {
			problem = cmp.Or(placeholder(text), problem)
		}
	default:
		problem = kind
	}
	return problem
}

var emptyObject = []byte("{}")

func (p *payload) readVariables(f field) (problem string) {
	switch kind := kindOf(f.value); kind {
	case anObject:
		p.variables = f.value
	case missing, null: // flows send either if they have no variables
		p.variables = emptyObject
	default:
		problem = kind
	}
	return problem
}

// The kinds of a field, as error messages name them.
const (
	missing  = "missing"
	null     = "null"
	anObject = "an object"
	anArray  = "an array"
	aString  = "a string"
	aBoolean = "a boolean"
	aNumber  = "a number"
)

// kindOf returns the kind of a valid JSON text by its first byte, which must not be white space.
func kindOf(value []byte) string {
	if len(value) == 0 {
		return missing
	}
	switch value[0] {
	case '{':
		return anObject
	case '[':
		return anArray
	case '"':
		return aString
	case 't', 'f':
		return aBoolean
	case 'n':
		return null
	}
	return aNumber
}

func unquote(value []byte) []byte { return value[1 : len(value)-1] }

// text returns the meaning of a valid JSON string, given the text between its quotes. whole is false if the string
// contains a lone surrogate. A text with escapes is written to scratch and cut just above maxID: no text that we look
// for is longer, and scratch stays small whatever is sent.
func (p *payload) text(raw []byte) (text []byte, whole bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw, true
	}
	start := len(p.scratch)
	p.scratch, whole = appendUnescaped(p.scratch, raw, maxID+1)
	return p.scratch[start:], whole
}

const outOfRange = "a number out of range"

// parseNumber reads a valid JSON number as an integer, if it is one: 70e-1 is 7. It works on decimal digits, because
// floats would merge sequences beyond 2^53. It writes out the digits only if there are few: 1e400 must not cost 400
// zeros.
func parseNumber(number []byte) (n int64, problem string) {
	mantissa, exponent := number, 0
	if e := bytes.IndexAny(number, "eE"); e >= 0 {
		mantissa, exponent = number[:e], parseExponent(number[e+1:])
	}
	point := bytes.IndexByte(mantissa, '.')
	if point < 0 {
		point = len(mantissa)
	}
	power := func(i int) int { // the power of ten of the digit at i
		if i < point {
			i++
		}
		return point - i + exponent
	}
	const significant, longest = "123456789", len("9223372036854775807")
	first, last := bytes.IndexAny(mantissa, significant), bytes.LastIndexAny(mantissa, significant)
	switch {
	case first < 0:
		return 0, ""
	case power(last) < 0:
		return 0, "a number with a fraction"
	case power(first) >= longest:
		return 0, outOfRange
	}
	var onStack [1 + longest]byte
	plain := onStack[:0]
	if number[0] == '-' {
		plain = append(plain, '-')
	}
	for _, c := range mantissa[first : last+1] {
		if c != '.' {
			plain = append(plain, c)
		}
	}
	for range power(last) {
		plain = append(plain, '0')
	}
	return parseDecimal(plain)
}

// parseExponent cuts an exponent to a range that is larger than any body's number of digits, so that the two can be
// added without overflow.
func parseExponent(exponent []byte) int {
	const limit = 1 << 30
	n, _ := strconv.Atoi(string(exponent)) // the only possible error is ErrRange, and n is then the end of the range
	return min(max(n, -limit), limit)
}

// parseDecimal reads an integer in the only spelling that strconv would write. "007", "+7", "-0" and "7.0" are refused.
func parseDecimal(text []byte) (n int64, problem string) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, outOfRange
	}
	var onStack [20]byte
	if err != nil || !bytes.Equal(strconv.AppendInt(onStack[:0], n, 10), text) {
		return 0, "a string that is not a plain decimal"
	}
	return n, ""
}
