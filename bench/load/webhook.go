package load

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"sync/atomic"
)

// The webhook that is sent; only its sequence changes.
const (
	DialogID  = "d-2f9c1a7e-5b1d-4c7e-9a86-0d3b7c11e5f4"
	NodeID    = "book-flight"
	Variables = `{"origin":"FRA","destination":"LIS","date":"2026-03-14","passengers":2,"cabin":"economy",` +
		`"name":"Ada Lovelace","email":"ada@example.com","total":418.5}`
)

// Path is the path at which every contender takes webhooks.
const Path = "/webhook/cognigy"

// firstSequence has as many digits as any later one, so that a sequence can be replaced in place.
const firstSequence = 100_000_000_000

// Sequences gives each webhook a number of its own. It is safe for concurrent use.
type Sequences struct{ taken atomic.Int64 }

// Next returns a number that was not returned before.
func (s *Sequences) Next() int64 { return firstSequence + s.taken.Add(1) }

// Data is the answer of every contender's logic to the webhook, around a timestamp.
func Data(timestamp int64) []byte {
	return []byte(`{"processed":true,"dialogId":"` + DialogID + `","nodeId":"` + NodeID + `","timestamp":` +
		strconv.FormatInt(timestamp, 10) + `,"variables_updated":` + Variables + `}`)
}

// Body returns the webhook's body.
func Body(sequence int64) []byte {
	return []byte(`{"dialogId":"` + DialogID + `","nodeId":"` + NodeID + `","sequence":` +
		strconv.FormatInt(sequence, 10) + `,"variables":` + Variables + `}`)
}

// Fingerprint returns the webhook's name, 64 hex digits.
func Fingerprint(sequence int64) string {
	sum := sha256.Sum256([]byte(DialogID + ":" + NodeID + ":" + strconv.FormatInt(sequence, 10)))
	return hex.EncodeToString(sum[:])
}

// request returns the bytes of a POST, and the position of the sequence in them.
func request(host string) (bytesOfIt []byte, sequenceAt int) {
	body := Body(firstSequence)
	whole := append([]byte("POST "+Path+" HTTP/1.1\r\nHost: "+host+
		"\r\nContent-Type: application/json\r\nContent-Length: "+
		strconv.Itoa(len(body))+"\r\n\r\n"), body...)
	return whole, bytes.LastIndex(whole, strconv.AppendInt(nil, firstSequence, 10))
}
