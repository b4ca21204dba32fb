// Package trail is the record of what became of webhooks that Redis keeps for people: a stream for each bucket, which
// the script writes (scripts/idempotency.lua). The package describes an event's request (about.go), reads an event back
// (event.go), and finds the events of a webhook (read.go).
package trail

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
)

// The kinds of events.
const (
	Claimed   = "claimed"   // an attempt began
	Takeover  = "takeover"  // an attempt began, because the lease of the one before had run out
	Stored    = "stored"    // it has a result
	Rejected  = "rejected"  // it was refused for good
	Failed    = "failed"    // it ended without a result
	Forgotten = "forgotten" // a person wants it executed again
	Resolved  = "resolved"  // a person found out its result
	Restored  = "restored"  // Redis had lost it, and a replica put it back
	Poisoned  = "poisoned"  // a verdict: it is not executed again
	Doubtful  = "doubtful"  // also a verdict
)

// Event is a transition of a webhook.
type Event struct {
	ID          string                  `json:"id"` // in its stream
	At          time.Time               `json:"at"` // by Redis' clock
	What        string                  `json:"event"`
	Tenant      string                  `json:"tenant,omitempty"`
	Fingerprint fingerprint.Fingerprint `json:"fingerprint"`

	Attempt int64         `json:"attempt"`           // the one that began or ended, or that a person judged
	Cause   string        `json:"cause,omitempty"`   // how the attempt ended, or the one before; what was forgotten
	Status  int           `json:"status,omitempty"`  // of the result
	Took    time.Duration `json:"-"`                 // from the attempt's beginning to its end; 0: not known
	TookMS  int64         `json:"took_ms,omitempty"` // the same
	Replica string        `json:"replica,omitempty"` // the one that had the attempt; "": a person, or not known

	Deliveries int     `json:"deliveries,omitempty"` // other deliveries since the event before, as far as the replica knew
	Fields     []Field `json:"fields,omitempty"`     // of the webhook's latest request
}

// longest bounds how long an attempt may have taken, in ms: a year. A foreign event may hold any number.
const longest = 366 * 24 * 60 * 60 * 1000

var errForeign = errors.New("not an event of ours")

// parse reads an entry of a stream.
func parse(keys redis.Keys, id, line string) (e Event, err error) {
	part := strings.SplitN(line, " ", 10)
	ms, _, _ := strings.Cut(id, "-")
	at, bad := strconv.ParseInt(ms, 10, 64)
	if len(part) != 10 || bad != nil {
		return e, errForeign
	}
	number := func(text string) (n int64) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			bad = errForeign
		}
		return n
	}
	text := func(text string) string {
		if text == "-" {
			return ""
		}
		return text
	}
	e = Event{
		ID: id, At: time.UnixMilli(at), What: part[0], Cause: text(part[1]), Status: int(number(part[2])),
		Attempt: number(part[4]), Replica: record.Replica(part[5]), Deliveries: int(number(part[8])),
	}
	began := number(part[3])
	ours := false
	if e.Tenant, e.Fingerprint, ours = keys.Parse(part[7]); !ours || bad != nil {
		return e, errForeign
	}
	switch e.What {
	case Stored, Rejected, Failed:
		if took := at - began; began > 0 && 0 < took && took < longest {
			e.TookMS = took
			e.Took = time.Duration(e.TookMS) * time.Millisecond
		}
	}
	if part[9] != "-" {
		e.Fields = fields(part[9])
	}
	return e, nil
}
