package handler

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how many arrays and objects may be open at once, including the body's own object.
const maxDepth = 1000

// scanner steps once through JSON text by the strict grammar of RFC 8259, and returns parts of the text unchanged. It
// is not recursive, so that a deeply nested body costs no stack. It does not check UTF-8.
//
// Callers need not check for errors on the way: after the first problem the scanner behaves as if the text had ended.
type scanner struct {
	text    []byte
	at      int                // offset of the next byte
	depth   int                // number of open containers
	closers [maxDepth + 1]byte // by depth: the closing bracket of the container that is open there
	fresh   bool               // the last thing passed was an opening bracket: no comma is due
	problem string             // the first error with its offset; empty if there is none
}

// fail records the first problem and moves to the end of the text, with no container open.
func (s *scanner) fail(problem string) {
	if s.problem == "" {
		s.problem = "unreadable at byte offset " + strconv.Itoa(s.at) + ": " + problem
	}
	s.at, s.depth = len(s.text), 0
}

// value passes one value, however deeply nested, and returns its text.
func (s *scanner) value() []byte {
	s.space()
	start, outside := s.at, s.depth
	s.begin()
	for s.depth > outside {
		if s.more() {
			if s.closers[s.depth] == '}' {
				s.key()
			}
			s.begin()
		}
	}
	return s.text[start:s.at]
}

// begin passes a whole scalar, or the opening bracket of a container. In a container, more leads through the items.
func (s *scanner) begin() {
	s.space()
	switch c := s.peek(); c {
	case '{', '[':
		s.open(c + 2) // in ASCII the code of a closing bracket is that of its opening one + 2
	case '"':
		s.string()
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
}

func (s *scanner) open(closer byte) {
	if s.depth == maxDepth {
		s.fail("it nests deeper than " + strconv.Itoa(maxDepth) + " levels")
		return
	}
	s.at++
	s.depth++
	s.closers[s.depth] = closer
	s.fresh = true
}

// more passes the separator of two items of the innermost container, and reports whether an item follows. If none does,
// it has passed the closing bracket.
func (s *scanner) more() bool {
	s.space()
	fresh := s.fresh
	s.fresh = false
	switch {
	case s.depth == 0:
		return false
	case s.pass(s.closers[s.depth]):
		s.depth--
		return false
	case fresh || s.pass(','):
		return true
	}
	s.fail("a comma or a closing bracket is missing")
	return false
}

// key passes a member's key and colon, and returns the text between the key's quotes.
func (s *scanner) key() []byte {
	s.space()
	key := s.string()
	s.space()
	if !s.pass(':') {
		s.fail("a colon is missing")
	}
	return key
}

// end fails unless nothing but white space is left.
func (s *scanner) end() {
	s.space()
	if s.at < len(s.text) {
		s.fail("more follows behind its end")
	}
}

func (s *scanner) space() {
	for s.at < len(s.text) && isSpace(s.text[s.at]) {
		s.at++
	}
}

// peek returns the next byte, or 0 at the end of the text. A NUL in the text is refused like the end, since JSON allows
// none.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) pass(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) literal(word string) {
	for i := range len(word) {
		if !s.pass(word[i]) {
			s.fail("a literal is misspelt")
			return
		}
	}
}

// string passes a string and returns the text between its quotes, or nil if the string is broken.
func (s *scanner) string() []byte {
	if !s.pass('"') {
		s.fail("a key in quotes is missing")
	}
	start := s.at
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[start : s.at-1]
		case c == '\\':
			s.escape()
		case c < ' ':
			s.fail("a control character is not escaped")
		default:
			s.at++
		}
	}
	s.fail("a closing quote is missing")
	return nil
}

// shortEscapes are the characters that may follow a backslash, except u; escaped holds the character that each of them
// stands for.
const (
	shortEscapes = `"\/bfnrt`
	escaped      = "\"\\/\b\f\n\r\t"
)

func (s *scanner) escape() {
	s.at++ // the backslash
	switch c := s.peek(); {
	case c == 'u':
		s.at++
		for range 4 {
			if !isHex(s.peek()) {
				s.fail("a hex digit is missing")
				return
			}
			s.at++
		}
	case strings.IndexByte(shortEscapes, c) >= 0:
		s.at++
	default:
		s.fail("a backslash escapes what needs no escape")
	}
}

func (s *scanner) number() {
	if c := s.peek(); c != '-' && !isDigit(c) {
		s.fail("a value is missing")
		return
	}
	s.pass('-')
	if !s.pass('0') { // only a lone zero begins with a zero
		s.digits()
	}
	if s.pass('.') {
		s.digits()
	}
	if s.pass('e') || s.pass('E') {
		_ = s.pass('+') || s.pass('-')
		s.digits()
	}
}

func (s *scanner) digits() {
	if !isDigit(s.peek()) {
		s.fail("a digit is missing")
	}
	for isDigit(s.peek()) {
		s.at++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// appendUnescaped appends the text that a valid JSON string stands for, given the text between its quotes. It stops
// within a few bytes behind limit. whole is false if the string contains a lone surrogate, which becomes U+FFFD.
func appendUnescaped(dst, raw []byte, limit int) (text []byte, whole bool) {
	whole = true
	for limit += len(dst); len(raw) > 0 && len(dst) < limit; {
		if raw[0] != '\\' {
			dst, raw = append(dst, raw[0]), raw[1:]
			continue
		}
		var char rune
		char, raw = cutEscape(raw)
		whole = whole && !utf16.IsSurrogate(char)
		dst = utf8.AppendRune(dst, char)
	}
	return dst, whole
}

// cutEscape returns the character that the escape at the beginning of raw stands for, and the rest of raw. Two escapes
// that form a surrogate pair are cut together; a lone surrogate is returned as it is.
func cutEscape(raw []byte) (char rune, rest []byte) {
	if raw[1] != 'u' {
		return rune(escaped[strings.IndexByte(shortEscapes, raw[1])]), raw[2:]
	}
	char, rest = codeUnit(raw), raw[6:]
	if bytes.HasPrefix(rest, []byte(`\u`)) {
		if pair := utf16.DecodeRune(char, codeUnit(rest)); pair != utf8.RuneError {
			return pair, rest[6:]
		}
	}
	return char, rest
}

// codeUnit returns the UTF-16 code unit of an escape \uXXXX.
func codeUnit(escape []byte) rune {
	n, _ := strconv.ParseUint(string(escape[2:6]), 16, 16)
	return rune(n)
}
