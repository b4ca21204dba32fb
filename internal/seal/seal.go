// Package seal hides results from people who can read Redis, and detects a record that was changed there or copied from
// another place. It works between the logic and the store: it seals a done record (record.Done becomes record.Sealed)
// and opens it when it is read. The keys come from a file (keys.go).
//
// A record is sealed with AES-256-GCM under a key of its own, which HKDF-SHA-256 derives from a key of the file and the
// record's token. The sealed text is the content type and headers in the form of a done record, a newline, and the
// body. The fields that stay readable are bound as additional data: the record's place (Place), its token, status and
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
// place, or another key has been given this name.
var ErrBroken = errors.New("sealed, and does not open: changed, moved, or sealed under another key of that name")

// Place says where a record is stored. A record that was sealed for one place opens at no other.
type Place struct {
	Prefix      string // KEY_PREFIX
	Tenant      string // "": there are no tenants
	Fingerprint fingerprint.Fingerprint
}

// Seal returns a done record with its result sealed under the first key. The bytes differ at each call. Without keys
// (nil), and for a record that is not done, it returns the record unchanged.
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

// Open returns the done record that a sealed one was made of, and any other record unchanged. The error is ErrNoKey or
// ErrBroken.
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
	if opened.ParseKind(kind) != nil { // a version with another form sealed it
		return r, fmt.Errorf("%w: key %q", ErrBroken, sealer.id)
	}
	r.State, r.KeyID, r.Result = record.Done, "", opened
	return r, nil
}

// of returns the cipher of one record. Each sealing draws a nonce of 96 bits and writes it before the text: the token
// alone would not do, since all results that persons give share one token.
func (k *key) of(token string) cipher.AEAD {
	secret, err := hkdf.Expand(sha256.New, k.extracted, label+token, keySize)
	if err != nil {
		panic(err) // only for a length that HKDF cannot derive
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(err) // only for a key of another length
	}
	sealing, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for a block that is not AES
	}
	return sealing
}

// Overhead bounds by how many bytes a sealed result is longer than its body.
const Overhead = 4 << 10

// label separates this form and this use of a key from every other.
const label = "oncegate sealed result 1:"

// bind returns the additional data: each part with its length before it, so that no two places or records have the
// same. The attempt is not part of it, because a store may raise it.
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
