package handler_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/seal"
)

// openSealed adds a replica that seals under a key.
func (h *testbed) openSealed(id string) *replica {
	h.Helper()
	secret := func(letter string) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(letter), 32)) }
	keys, err := seal.Parse(id + " " + secret(id[:1]) + "\ndigest " + secret("d"))
	if err != nil {
		h.Fatal(err)
	}
	o := options()
	o.Seal = keys
	return h.openWith(o, handler.Options{Seal: keys}, func(*handler.Server) {})
}

func TestSealedResultsAreAnsweredAsEverAndWithoutTheKeyItIs503(t *testing.T) {
	const unreadable = `{"detail":"Cache service unavailable: ` +
		`this webhook's result is sealed under a key that this replica does not have"}`
	onEach(t, func(t *testing.T, h *testbed) {
		a, b, without, other := h.openSealed("one"), h.openSealed("one"), h.open(options()), h.openSealed("two")
		h.expect(a.post(webhook), 200, success(`{"execution":1}`), "Idempotency-Status: executed", named, first)
		for _, r := range []*replica{b, a, b, a, b, a} {
			h.expect(fresh(r.post(webhook)), 200, cached(`{"execution":1}`),
				"Idempotency-Status: replayed", named, first, replayed, "Age: 0")
		}
		for _, r := range []*replica{without, other} {
			h.expect(r.post(webhook), 503, unreadable, named, first, retryAfter)
			h.expect(r.exchange(request("GET", "/webhook/cognigy/"+name, "")), 503, unreadable, named, first, retryAfter)
		}
		value := redistest.Do(h, h.client, "GET", name)
		sum := sha256.Sum256([]byte(webhook))
		plain := hex.EncodeToString(sum[:len(record.Digest{})])
		if strings.Contains(value, plain) || strings.Contains(value, "execution") {
			t.Errorf("%q stands in Redis", value)
		}
		h.expectExecutions(1)
	})
}
