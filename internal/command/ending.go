package command

import (
	"fmt"

	"github.com/oncegate/oncegate/internal/record"
)

// ending says in a person's words how an attempt ended.
type ending struct {
	words   string
	certain bool // it leaves no doubt: a doubt of the record is about an attempt before it
}

// endings holds an ending for each reason of a failed record, and for each other word in a record's past.
var endings = map[string]ending{
	"error":      {"failed for certain: it was not done", true},
	"refused":    {"failed for certain: the backend took no request, or was too busy (429), and did nothing", true},
	"rejected":   {"refused by the backend (4xx); its callers were told, and it is not kept (REJECTED_TTL=0)", true},
	"unanswered": {"not executed: Redis did not answer the replica in time", true},
	"unstarted":  {"not executed: the gateway was about to stop", true},
	"unasked": {"outcome unknown: the backend was asked what became of an earlier attempt and gave no clear answer; " +
		"this attempt executed nothing", false},
	"unknown":   {"outcome unknown: the backend may have done it; the replica's log of that time has the error", false},
	"timeout":   {"outcome unknown: it took longer than EXECUTION_TIMEOUT, and the backend may have done it", false},
	"panic":     {"outcome unknown: the logic panicked, and may have done it", false},
	"exited":    {"outcome unknown: the logic ended its goroutine, and may have done it", false},
	"too-large": {"done, in all likelihood, but its result is larger than MAX_RESULT_BYTES and was not kept", false},
	"lease-lost": {"outcome unknown: its replica lost Redis for LOCK_TTL and cancelled it; " +
		"the backend may have done it", false},
	"shutdown": {"outcome unknown: its replica was stopped while it ran, and the backend may have done it", false},
	record.Expired: {"crashed: its replica ended, froze or lost Redis for LOCK_TTL; outcome unknown: " +
		"the backend may have done it", false},
	"forgotten": {"forgotten by a person", true},
	"done":      {"had a result, until a person forgot it", true},
	"dropped": {"forgotten by a person with --force while it ran: its result is not accepted, " +
		"and it may have been done", true},
}

func endingOf(reason string) ending {
	if e, ok := endings[reason]; ok {
		return e
	}
	return ending{fmt.Sprintf("failed as %s, which this version does not know; outcome unknown", plain(reason)), false}
}
