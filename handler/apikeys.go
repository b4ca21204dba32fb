package handler

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/valyala/fasthttp"
)

// apiKeys lets a caller in that shows one of them. If there are none, it lets everybody in.
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

// admits looks for a key where Cognigy's HTTP node and other callers put it: X-API-Key, or Authorization as ApiKey,
// Bearer or Basic. Of Basic the password is a key, whatever the name, or else both with the colon between them.
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

// opens takes the same time for every key shown: digests are compared, and always with all.
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
