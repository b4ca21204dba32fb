// Package command is what a person types beside a running gateway. Most commands look into the Redis that the replicas
// share and put into words what stands there; only forget and resolve change something, and by the script. health asks
// a gateway, size calculates.
package command

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// ErrNotFound says that there is no record of the webhook: it never came, or its time is over.
var ErrNotFound = errors.New("no record")

// Webhook is the identity that a person gave, or the fingerprint.
type Webhook struct {
	Dialog, Node string
	Sequence     int64

	Fingerprint *fingerprint.Fingerprint // in place of the three
}

func (w Webhook) fingerprint() fingerprint.Fingerprint {
	if w.Fingerprint != nil {
		return *w.Fingerprint
	}
	return fingerprint.Of([]byte(w.Dialog), []byte(w.Node), w.Sequence)
}

// identity is what a person gave, safe for a terminal.
func (w Webhook) identity() string {
	return fmt.Sprintf("dialog %s, node %s, sequence %d", plain(w.Dialog), plain(w.Node), w.Sequence)
}

// String names it, safe for a terminal.
func (w Webhook) String() string {
	if w.Fingerprint != nil {
		return w.Fingerprint.String()
	}
	return fmt.Sprintf("%s (%v)", w.identity(), w.fingerprint())
}

// plain returns text for a terminal: what could be mistaken there, or play tricks on it, is quoted.
func plain(text string) string {
	odd := func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`"'\,`, r) || r == utf8.RuneError
	}
	if text == "" || strings.ContainsFunc(text, odd) {
		return strconv.Quote(text)
	}
	return text
}
