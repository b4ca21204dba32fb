package handler

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/valyala/fasthttp"
)

// door lets in who shows one of its keys. Without any it lets in everybody.
type door struct {
	keys [][sha256.Size]byte
}

func newDoor(keys []string) door {
	var d door
	for _, key := range keys {
		d.keys = append(d.keys, sha256.Sum256([]byte(key)))
	}
	return d
}

// admits looks for a key where Cognigy's HTTP node and other callers put it: X-API-Key, or Authorization as ApiKey,
// Bearer or Basic. Of Basic the password is a key, whatever the name, or else both with the colon between them.
func (d door) admits(header *fasthttp.RequestHeader) bool {
	if len(d.keys) == 0 {
		return true
	}
	if d.opens(header.Peek("X-API-Key")) {
		return true
	}
	scheme, shown, _ := bytes.Cut(header.Peek(fasthttp.HeaderAuthorization), []byte{' '})
	shown = bytes.TrimSpace(shown)
	switch {
	case bytes.EqualFold(scheme, []byte("ApiKey")), bytes.EqualFold(scheme, []byte("Bearer")):
		return d.opens(shown)
	case bytes.EqualFold(scheme, []byte("Basic")):
		pair, err := base64.StdEncoding.AppendDecode(nil, shown)
		_, password, _ := bytes.Cut(pair, []byte{':'})
		return err == nil && (d.opens(password) || d.opens(pair))
	}
	return false
}

// opens takes the same time for every key shown: digests are compared, and always with all.
func (d door) opens(shown []byte) bool {
	if len(shown) == 0 {
		return false
	}
	sum := sha256.Sum256(shown)
	fits := 0
	for i := range d.keys {
		fits |= subtle.ConstantTimeCompare(sum[:], d.keys[i][:])
	}
	return fits == 1
}
