package gate

import (
	"crypto/sha256"
	"errors"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/seal"
)

// place returns the place of a fingerprint's record, the same in every bucket.
func (b *bucket) place(t *Tenant, f fingerprint.Fingerprint) seal.Place {
	return seal.Place{Prefix: b.gate.keys.Prefix(), Tenant: t.Name, Fingerprint: f}
}

// open returns a record with its result as the logic gave it. If it cannot be opened, the record stays as it is and its
// webhook is not executed. The log has one line for each missing key, and one for each record that does not open.
func (b *bucket) open(w *Request, r record.Record) (record.Record, error) {
	opened, err := w.Tenant.Seal.Open(b.place(w.Tenant, w.Fingerprint), r)
	switch {
	case err == nil:
	case errors.Is(err, seal.ErrNoKey):
		if b.gate.unopened.first(sha256.Sum256([]byte(r.KeyID))) {
			b.logOf(w, r.Attempt).Error("results are sealed under a key that this replica does not have, and their webhooks "+
				"get 503, this one too: give all replicas that key in RESULT_KEY_FILE", "key_id", r.KeyID)
		}
	default:
		if b.gate.unopened.first(w.Fingerprint) {
			b.logOf(w, r.Attempt).Error("a sealed result does not open, and its webhook gets 503: it was changed in Redis or "+
				"moved there from another key, or RESULT_KEY_FILE has another key under this id", "key_id", r.KeyID)
		}
	}
	return opened, err
}

// unopenedAs returns the outcome of a webhook whose record cannot be opened.
func unopenedAs(err error) Outcome {
	if errors.Is(err, seal.ErrNoKey) {
		return Unreadable
	}
	return Foreign
}

// sameBody reports whether the digest in a record is that of a webhook's body. A replica without keys writes plain
// digests.
func (r *Rules) sameBody(found, own record.Digest) bool {
	return found == own || r.Seal.Digest(found) == own
}
