// Package fingerprint names a webhook: equal identities have equal fingerprints, on every replica.
// It is the first thing that is made of a webhook and the key under which all else finds it.
package fingerprint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// Prefix stands before the hex form wherever a person meets a fingerprint, whatever the deployment's key prefix is.
const Prefix = "cognigy:fp:"

// Placeholder stands in the URL of a status for the key that is made of a fingerprint (UPSTREAM_STATUS_URL).
const Placeholder = "{key}"

// Size is the length of a fingerprint in bytes; HexSize that of its text.
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

// UUID returns 122 of the fingerprint's bits as a UUID of version 8 (RFC 9562, section 5.8), for what takes no longer
// key: its first 128 bits, with the version and the variant in their places.
func (f Fingerprint) UUID() string {
	u := [16]byte(f[:16])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// String returns the form that answers carry, "cognigy:fp:" and the hex digits.
func (f Fingerprint) String() string { return Prefix + f.Hex() }

// LogValue makes every logger write the form that answers carry; JSON would show an array of 32 numbers.
func (f Fingerprint) LogValue() slog.Value { return slog.StringValue(f.String()) }

// Parse reads both forms, with and without "cognigy:fp:".
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
