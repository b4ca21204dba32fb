package load

import (
	"bytes"
	"errors"
)

// errAnswer says that a server sent an answer that a load generator does not read: without a status or a
// Content-Length.
var errAnswer = errors.New("an answer without a status or a Content-Length")

var (
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("content-length:")
)

// parseAnswer reads the status and the length from the part of an answer that has come so far. head is the length of
// the status line and headers, or 0 while they are incomplete. Each contender sends a Content-Length, so chunks are not
// read.
func parseAnswer(got []byte) (status, head, body int, err error) {
	end := bytes.Index(got, endOfHead)
	if end < 0 {
		return 0, 0, 0, nil
	}
	head = end + len(endOfHead)
	if end < len("HTTP/1.1 200") || !bytes.HasPrefix(got, []byte("HTTP/1.")) {
		return 0, 0, 0, errAnswer
	}
	if status = number(got[len("HTTP/1.1 "):len("HTTP/1.1 200")]); status < 100 {
		return 0, 0, 0, errAnswer
	}
	for line := got[:end]; ; {
		next := bytes.IndexByte(line, '\n')
		if next < 0 {
			return 0, 0, 0, errAnswer
		}
		line = line[next+1:]
		// Most lines begin with another letter: this costs two comparisons instead of one that ignores case.
		if len(line) > len(contentLength) && line[0]|0x20 == 'c' && bytes.EqualFold(line[:len(contentLength)],
			contentLength) {
			value, _, _ := bytes.Cut(line[len(contentLength):], []byte{'\r'})
			if body = number(bytes.TrimSpace(value)); body < 0 {
				return 0, 0, 0, errAnswer
			}
			return status, head, body, nil
		}
	}
}

// number returns the value of a plain decimal, or -1.
func number(digits []byte) int {
	if len(digits) == 0 || len(digits) > 9 {
		return -1
	}
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}
