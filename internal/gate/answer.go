package gate

import (
	"context"
	"log/slog"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/meter"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/span"
)

// Request asks for the result of a fingerprint: one delivery of its webhook.
type Request struct {
	Tenant      *Tenant // nil: it belongs to none
	Fingerprint fingerprint.Fingerprint
	Digest      record.Digest // of the request's body
	Arrived     time.Time     // WaitTimeout counts from then

	// Wait is how long its caller waits for an execution that runs, from when a claim is answered so; nil, or more than
	// WaitTimeout leaves: as long as that. It is 0 or more.
	Wait *time.Duration

	Source Source
	Span   span.Request // nil: nothing is traced

	work  Work
	about string // for the trail
}

// Source is what a request came from.
type Source interface {
	// Detach returns the work of the request, with a copy of all that it needs of it: the request's memory is used again.
	// It is called for each try anew, and only while Do has not returned.
	Detach() Work
}

// Teller is a Source that can tell the trail what its request is about.
type Teller interface {
	// About returns a text without spaces, of at most a few KiB, or "". It is called like Detach, if there is a trail.
	About() string
}

// Work is what a webhook asks for.
type Work interface {
	// Run runs the business logic. It runs at most once for a fingerprint at a time, in a goroutine of the gate's,
	// maybe after the request that brought it has been answered. Its context ends with ExecutionTimeout, a lost lease
	// (context.Cause: record.ErrLeaseLost) or a shutdown. An error leaves the webhook retryable; one that does not wrap
	// record.ErrOutcomeUnknown is a failure for certain. inDoubt: what became of an attempt before this one is not known.
	Run(ctx context.Context, attempt int64, inDoubt bool) (record.Result, error)

	slog.LogValuer // what a log calls the webhook
}

// Outcome says what became of a webhook.
type Outcome uint8

// The outcomes.
const (
	Executed    Outcome = iota // this request's own execution gave the result
	Replayed                   // the result stood there
	Waited                     // the result came while this request waited for another's execution
	Processing                 // another one's execution goes on, or this one's own longer than WaitTimeout
	Failed                     // the execution failed; a retry executes again
	Unavailable                // Redis does not answer, or refuses to write
	Foreign                    // a value that no version of ours wrote stands at the record's key
	Unreadable                 // the result is sealed under a key that this replica does not have
	Refused                    // nothing is executed at the moment (Admit, record.ErrRefused)
	Limited                    // its tenant has begun as many executions as it may (ExecutionsPerSecond)
	Overloaded                 // as many executions run, or as many requests wait, as may
	Poisoned                   // its executions failed as often as they may; it is not executed
	Doubtful                   // an attempt may have had its effect; it is not executed (StopInDoubt)
	Mismatched                 // another body than the one that is, or was, executed (RejectMismatch)
	Missing                    // to Find: there is no record
)

// String is the word for it in metrics and traces.
func (o Outcome) String() string {
	return [...]string{
		Executed: "executed", Replayed: "replayed", Waited: "waited", Processing: "still_processing", Failed: "failed",
		Unavailable: "unavailable", Foreign: "foreign", Unreadable: "unreadable", Refused: "refused", Limited: "limited",
		Overloaded: "overloaded", Poisoned: "poisoned", Doubtful: "doubtful", Mismatched: "mismatched", Missing: "missing",
	}[o]
}

// AnswerTimes are the seconds from webhooks' arrivals to their answers, by outcome.
type AnswerTimes [Missing + 1]meter.Histogram

// Answer is what a webhook gets.
type Answer struct {
	Outcome Outcome
	Attempt int64         // of the execution that it tells of; 0 where that is not known
	Result  record.Result // Executed, Replayed, Waited; must not be changed
	Age     time.Duration // since the result was stored, by Redis' clock; never negative

	RetryAfter time.Duration // Failed, Refused, Limited: how long to wait before asking again; 0 where that is not known

	// Mismatch says that another body than the webhook's is, or was, executed. Where that is not known, as while no claim
	// has been answered, it is false.
	Mismatch bool
}
