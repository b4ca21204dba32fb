// Package verdict says whether a gateway kept its promise under a load. It judges by the answers to all deliveries, and
// by the counters of all replicas before and after the load. It does not know how the load was made.
package verdict

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// Answer is the answer to one delivery.
type Answer struct {
	Delivery    uint64                  // number of the delivery, for messages
	Malformed   bool                    // the body is not a webhook
	Fingerprint fingerprint.Fingerprint // of the webhook; zero if the body is malformed
	Status      int                     // 0: no answer came, and Error says why
	Error       string
	Header      http.Header
	Body        []byte
}

// Outcome returns in one word what became of the delivery.
func (a *Answer) Outcome() string {
	outcome := a.Header.Get("Idempotency-Status")
	switch {
	case outcome != "":
		return outcome
	case a.Status == 0:
		return "no answer"
	}
	return fmt.Sprint(a.Status)
}

// Ledger keeps those parts of all answers that a verdict needs. It is not safe for concurrent use.
type Ledger struct {
	webhooks  map[fingerprint.Fingerprint]*webhook
	sent      int64            // number of well-formed webhooks that were sent
	malformed int64            // number of malformed bodies that were sent
	outcomes  map[string]int64 // number of well-formed webhooks by outcome

	twice, differing, misnamed, unexpected, unanswered, taken examples
}

// webhook holds the answers for one fingerprint.
type webhook struct {
	data     [sha256.Size]byte // digest of the data in the first answer that had any
	answered uint64            // number of the delivery with that answer; 0: none yet
	executed uint64            // number of the first delivery that was told "executed"; 0: none yet
}

// examples counts answers that break a rule, and keeps the first of them.
type examples struct {
	count int64
	first string
}

func (e *examples) say(what string) string {
	if e.count == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s, first: %s", e.count, what, e.first)
}

func (e *examples) add(format string, args ...any) {
	if e.count++; e.count == 1 {
		e.first = fmt.Sprintf(format, args...)
	}
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{webhooks: map[fingerprint.Fingerprint]*webhook{}, outcomes: map[string]int64{}}
}

// Note adds one answer.
func (l *Ledger) Note(a Answer) {
	if a.Malformed {
		l.malformed++
		if a.Status != http.StatusBadRequest {
			l.taken.add("delivery %d, malformed, got %s", a.Delivery, a.told())
		}
		return
	}
	l.sent++
	l.outcomes[a.Outcome()]++
	w := l.webhooks[a.Fingerprint]
	if w == nil {
		w = new(webhook)
		l.webhooks[a.Fingerprint] = w
	}
	switch outcome := a.Outcome(); {
	case a.Status == 0:
		l.unanswered.add("delivery %d: %s", a.Delivery, a.Error)
		return
	case outcome == "processing":
		return // the caller may ask again
	case a.Status >= http.StatusInternalServerError || outcome != "executed" && outcome != "replayed" &&
		outcome != "waited":
		l.unexpected.add("delivery %d of %s got %s", a.Delivery, a.Fingerprint, a.told())
		return
	}
	if name := a.Header.Get("Idempotency-Fingerprint"); name != a.Fingerprint.String() {
		l.misnamed.add("delivery %d of %s got the answer of %q", a.Delivery, a.Fingerprint, name)
	}
	if a.Outcome() == "executed" {
		if w.executed != 0 {
			l.twice.add("%s was executed for deliveries %d and %d", a.Fingerprint, w.executed, a.Delivery)
		}
		w.executed = a.Delivery
	}
	data := sha256.Sum256(a.data())
	switch {
	case w.answered == 0:
		w.data, w.answered = data, a.Delivery
	case w.data != data:
		l.differing.add("%s: delivery %d got other data than delivery %d: %.200s", a.Fingerprint, a.Delivery, w.answered,
			a.data())
	}
}

func (a *Answer) told() string {
	if a.Status == 0 {
		return "no answer: " + a.Error
	}
	return strings.TrimSpace(fmt.Sprintf("%d %.200s", a.Status, a.Body))
}

// data returns the result in an envelope, or the whole body if results are passed through.
func (a *Answer) data() []byte {
	var envelope struct {
		Data        json.RawMessage `json:"data"`
		Fingerprint string          `json:"fingerprint"`
	}
	if json.Unmarshal(a.Body, &envelope) == nil && envelope.Fingerprint == a.Fingerprint.String() {
		return envelope.Data
	}
	return a.Body
}
