package handler

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/valyala/fasthttp"
)

// apiKeys admits a caller that shows one of the keys. If there are no keys, it admits everybody.
type apiKeys struct {
	digests [][sha256.Size]byte
}

func newAPIKeys(keys []string) apiKeys {
	var a apiKeys
	for _, key := range keys {
		a.digests = append(a.digests, sha256.Sum256([]byte(key)))
	}
	return a
}

// admits looks for a key in the headers that Cognigy's HTTP node and other callers use: X-API-Key, or Authorization
// with the scheme ApiKey, Bearer or Basic. With Basic, the key is the password, whatever the user name is, or the whole
// "name:password".
func (a apiKeys) admits(header *fasthttp.RequestHeader) bool {
	if len(a.digests) == 0 {
		return true
	}
	if a.opens(header.Peek("X-API-Key")) {
		return true
	}
	scheme, shown, _ := bytes.Cut(header.Peek(fasthttp.HeaderAuthorization), []byte{' '})
	shown = bytes.TrimSpace(shown)
	switch {
	case bytes.EqualFold(scheme, []byte("ApiKey")), bytes.EqualFold(scheme, []byte("Bearer")):
		return a.opens(shown)
	case bytes.EqualFold(scheme, []byte("Basic")):
		pair, err := base64.StdEncoding.AppendDecode(nil, shown)
		_, password, _ := bytes.Cut(pair, []byte{':'})
		return err == nil && (a.opens(password) || a.opens(pair))
	}
	return false
}

// opens reports whether a key is valid. It takes the same time for every key: it compares digests, and always all of
// them.
func (a apiKeys) opens(shown []byte) bool {
	if len(shown) == 0 {
		return false
	}
	sum := sha256.Sum256(shown)
	fits := 0
	for i := range a.digests {
		fits |= subtle.ConstantTimeCompare(sum[:], a.digests[i][:])
	}
	return fits == 1
}
