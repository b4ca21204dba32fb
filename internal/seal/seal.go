// Package seal hides results from who can read Redis, and shows when a record was changed there or put in another's
// place. Between the logic and the store it seals a done record (record.Done becomes record.Sealed), and on the way
// back it opens it. The keys come from a file (keys.go).
//
// A record is sealed by AES-256-GCM under a key of its own, which HKDF-SHA-256 makes of a key in the file and the
// record's token. What is sealed is the content type and the headers as a done record has them, a newline, and the
// body. What stays readable is bound to it as additional data: where the record stands (Place), its token, status and
// digest.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

// ErrNoKey says that a record is sealed under a key that is not in the file, or that there is no file.
var ErrNoKey = errors.New("sealed under a key that is not in RESULT_KEY_FILE")

// ErrBroken says that a record does not open under the key that it names: it was changed, it was sealed for another
// place, or the key has the name of another one.
var ErrBroken = errors.New("sealed, and does not open: changed, moved, or sealed under another key of that name")

// Place is where a record stands. Sealed for one place it opens at no other.
type Place struct {
	Prefix      string // KEY_PREFIX
	Tenant      string // "" where there are none
	Fingerprint fingerprint.Fingerprint
}

// Seal returns a done record with its result sealed under the first key. It gives other bytes each time. Without keys
// (nil), and for a record that is not done, it returns the record as it is.
func (k *Keys) Seal(p Place, r record.Record) record.Record {
	if k == nil || r.State != record.Done {
		return r
	}
	kind := r.Result.Kind()
	text := make([]byte, 0, len(kind)+1+len(r.Result.Body))
	text = append(append(append(text, kind...), '\n'), r.Result.Body...)
	sealer := k.keys[0]
	r.State, r.KeyID = record.Sealed, sealer.id
	r.Result = record.Result{
		Status: r.Result.Status, Body: sealer.of(r.Token).Seal(nil, nil, text, p.bind(&r)), Reconciled: r.Result.Reconciled,
	}
	return r
}

// Open returns a sealed record as the done one that it was. A record that is not sealed it returns as it is. The error
// is ErrNoKey or ErrBroken.
func (k *Keys) Open(p Place, r record.Record) (record.Record, error) {
	if r.State != record.Sealed {
		return r, nil
	}
	sealer := k.find(r.KeyID)
	if sealer == nil {
		return r, fmt.Errorf("%w: key %q", ErrNoKey, r.KeyID)
	}
	text, err := sealer.of(r.Token).Open(nil, nil, r.Result.Body, p.bind(&r))
	if err != nil {
		return r, fmt.Errorf("%w: key %q", ErrBroken, sealer.id)
	}
	kind, body, _ := bytes.Cut(text, []byte{'\n'})
	opened := record.Result{Status: r.Result.Status, Body: body}
	if opened.ParseKind(kind) != nil { // another version sealed it
		return r, fmt.Errorf("%w: key %q", ErrBroken, sealer.id)
	}
	r.State, r.KeyID, r.Result = record.Done, "", opened
	return r, nil
}

// of returns the cipher of one record. It draws a nonce of 96 bits for each sealing and puts it in front: the token of
// what persons resolve is always the same.
func (k *key) of(token string) cipher.AEAD {
	secret, err := hkdf.Expand(sha256.New, k.extracted, label+token, keySize)
	if err != nil {
		panic(err) // of a length that HKDF does not have
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(err) // of a key that has another length
	}
	sealing, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // of a block that is not AES'
	}
	return sealing
}

// Overhead bounds the bytes by which a sealed result is longer than its body.
const Overhead = 4 << 10

// label tells this use of a key, and its form, from any other.
const label = "oncegate sealed result 1:"

// bind returns the additional data: each part behind its length, so that no two places or records have the same. The
// attempt is not among them, since a store may raise it.
func (p Place) bind(r *record.Record) []byte {
	var onStack [256]byte
	bound := onStack[:0]
	for _, part := range [...]string{
		label, p.Prefix, p.Tenant, string(p.Fingerprint[:]), r.Token, strconv.Itoa(r.Result.Status), string(r.Digest[:]),
	} {
		bound = append(binary.BigEndian.AppendUint32(bound, uint32(len(part))), part...)
	}
	return bound
}
