// Package command implements the commands that a person types beside a running gateway. Most of them read the Redis
// that the replicas share and describe what they find. Only forget and resolve change records, and only through the
// script. health asks a gateway, size calculates.
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

// ErrNotFound says that a webhook has no record: it never came, or its record has expired.
var ErrNotFound = errors.New("no record")

// Webhook is a webhook as a person named it: by its identity, or by its fingerprint.
type Webhook struct {
	Tenant string // of the identity; "": it belongs to none

	Dialog, Node string
	Sequence     int64

	Fingerprint *fingerprint.Fingerprint // in place of the three fields above; nil: they are given
}

func (w Webhook) fingerprint() fingerprint.Fingerprint {
	if w.Fingerprint != nil {
		return *w.Fingerprint
	}
	if w.Tenant == "" {
		return fingerprint.Of([]byte(w.Dialog), []byte(w.Node), w.Sequence)
	}
	return fingerprint.OfTenant(w.Tenant, "cognigy", []byte(w.Dialog), []byte(w.Node),
		strconv.AppendInt(nil, w.Sequence, 10))
}

// identity returns the identity as text that is safe for a terminal.
func (w Webhook) identity() string {
	return fmt.Sprintf("dialog %s, node %s, sequence %d", plain(w.Dialog), plain(w.Node), w.Sequence)
}

// String names the webhook, in text that is safe for a terminal.
func (w Webhook) String() string {
	if w.Fingerprint != nil {
		return w.Fingerprint.String()
	}
	return fmt.Sprintf("%s (%v)", w.identity(), w.fingerprint())
}

// plain returns text that is safe for a terminal: it quotes text with characters that could be mistaken there or
// control it.
func plain(text string) string {
	odd := func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`"'\,`, r) || r == utf8.RuneError
	}
	if text == "" || strings.ContainsFunc(text, odd) {
		return strconv.Quote(text)
	}
	return text
}
