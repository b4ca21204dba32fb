// Package fingerprint names webhooks: equal identities have equal fingerprints, on every replica. A webhook's record,
// its counters and its idempotency key at the backend are all found by its fingerprint.
package fingerprint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// Prefix precedes the hex digits wherever a person reads a fingerprint, whatever KEY_PREFIX is.
const Prefix = "cognigy:fp:"

// Placeholder marks the place in UPSTREAM_STATUS_URL where the idempotency key goes.
const Placeholder = "{key}"

// Size is the length of a fingerprint in bytes, HexSize the number of its hex digits.
const (
	Size    = sha256.Size
	HexSize = 2 * Size
)

// Fingerprint is the SHA-256 of a webhook's identity.
type Fingerprint [Size]byte

// Of returns the fingerprint of an identity: sha256(esc(dialogID) ":" esc(nodeID) ":" sequence), where esc puts a
// backslash before every backslash and colon, so that no two identities share a text (docs/design.md, "Fingerprint").
func Of(dialogID, nodeID []byte, sequence int64) Fingerprint {
	var onStack [256]byte
	text := appendEscaped(onStack[:0], dialogID)
	text = append(text, ':')
	text = appendEscaped(text, nodeID)
	text = append(text, ':')
	text = strconv.AppendInt(text, sequence, 10)
	return sha256.Sum256(text)
}

// OfTenant returns the fingerprint of an identity that is a tenant's, or of another kind than Of's. The name of the
// identity says which parts of a request it has. The text begins with a backslash and a letter, which no escaped text
// does, so that no two tenants, and no two kinds of an identity, share a text (docs/design.md, "Fingerprint").
func OfTenant(tenant, identity string, parts ...[]byte) Fingerprint {
	var onStack [512]byte
	text := onStack[:0]
	if tenant != "" {
		text = appendEscaped(append(text, `\t:`...), []byte(tenant))
	} else {
		text = append(text, `\i`...)
	}
	text = appendEscaped(append(text, ':'), []byte(identity))
	for _, part := range parts {
		text = appendEscaped(append(text, ':'), part)
	}
	return sha256.Sum256(text)
}

func appendEscaped(dst, id []byte) []byte {
	for _, c := range id {
		if c == '\\' || c == ':' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return dst
}

// AppendHex appends the 64 hex digits.
func (f Fingerprint) AppendHex(dst []byte) []byte { return hex.AppendEncode(dst, f[:]) }

// Hex returns the 64 hex digits.
func (f Fingerprint) Hex() string { return hex.EncodeToString(f[:]) }

// UUID returns a UUID of version 8 (RFC 9562, section 5.8) for backends that take no longer key: the first 128 bits of
// the fingerprint, of which 6 are replaced by the version and the variant.
func (f Fingerprint) UUID() string {
	u := [16]byte(f[:16])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// String returns the form in answers, "cognigy:fp:" and the hex digits.
func (f Fingerprint) String() string { return Prefix + f.Hex() }

// LogValue makes every logger write the form in answers; a JSON handler would write an array of 32 numbers.
func (f Fingerprint) LogValue() slog.Value { return slog.StringValue(f.String()) }

// Parse reads a fingerprint's hex digits, with or without "cognigy:fp:" before them.
func Parse(text string) (Fingerprint, error) {
	var f Fingerprint
	digits := strings.TrimPrefix(text, Prefix)
	if len(digits) != HexSize {
		return f, fmt.Errorf("fingerprint %.80q: want %d hex digits", text, HexSize)
	}
	if _, err := hex.Decode(f[:], []byte(digits)); err != nil {
		return f, fmt.Errorf("fingerprint %q: %w", text, err)
	}
	return f, nil
}

// MarshalText writes the form in answers.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads both forms.
func (f *Fingerprint) UnmarshalText(text []byte) (err error) {
	*f, err = Parse(string(text))
	return err
}
