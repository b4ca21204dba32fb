package proc

import (
	"bytes"
	"sync"
)

// kept is how many bytes a Tail keeps.
const kept = 1 << 20

// Tail keeps the last megabyte that was written to it, from the beginning of a line.
type Tail struct {
	mu   sync.Mutex
	text []byte
}

// Write accepts all of text.
func (t *Tail) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, text...)
	if len(t.text) > 2*kept { // not at every write: cutting copies everything that is kept
		t.text = append(t.text[:0], last(t.text)...)
	}
	return len(text), nil
}

// String returns the text that is kept.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(last(t.text))
}

// last returns the end of a text that a Tail keeps.
func last(text []byte) []byte {
	if len(text) <= kept {
		return text
	}
	text = text[len(text)-kept:]
	return text[bytes.IndexByte(text, '\n')+1:]
}
