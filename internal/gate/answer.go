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

// Request is one delivery of a webhook, which asks for the result of its fingerprint.
type Request struct {
	Tenant      *Tenant // nil: it belongs to none
	Fingerprint fingerprint.Fingerprint
	Digest      record.Digest // of the request's body
	Arrived     time.Time     // WaitTimeout counts from then

	// Wait is how long the caller waits for a running execution, counted from the answer to a claim that says that it
	// runs. nil, or more than WaitTimeout leaves, means as long as WaitTimeout leaves. It is never negative.
	Wait *time.Duration

	Source Source
	Span   span.Request // nil: nothing is traced

	work  Work
	about string // for the trail
}

// Source is the HTTP request or the like that a Request came from.
type Source interface {
	// Detach returns the work of the request, with a copy of everything that the work needs, because the request's memory
	// is used again. It is called for each try anew, and only while Do has not returned.
	Detach() Work
}

// Teller is a Source that can tell the trail about its request.
type Teller interface {
	// About returns a text without spaces, of at most a few KiB, or "". It is called like Detach, if there is a trail.
	About() string
}

// Work runs the business logic on one request.
type Work interface {
	// Run runs the business logic. It runs at most once for a fingerprint at a time, in a goroutine of the gate, maybe
	// after the request has been answered. Its context ends with ExecutionTimeout, a lost lease (context.Cause:
	// record.ErrLeaseLost) or a shutdown. An error leaves the webhook retryable; one that does not wrap
	// record.ErrOutcomeUnknown is a failure for certain. inDoubt: nobody knows what became of an earlier attempt.
	Run(ctx context.Context, attempt int64, inDoubt bool) (record.Result, error)

	slog.LogValuer // how a log names the webhook
}

// Outcome is what became of a webhook.
type Outcome uint8

// The outcomes.
const (
	Executed    Outcome = iota // this request's own execution gave the result
	Replayed                   // the result was there already
	Waited                     // the result came while this request waited for another's execution
	Processing                 // another request's execution goes on, or this one's own takes longer than WaitTimeout
	Failed                     // the execution failed; a retry executes again
	Unavailable                // Redis does not answer, or refuses to write
	Foreign                    // the record's key holds a value that no version of ours wrote
	Unreadable                 // the result is sealed under a key that this replica does not have
	Refused                    // nothing is executed at the moment (Admit, record.ErrRefused)
	Limited                    // its tenant has begun as many executions as it may (ExecutionsPerSecond)
	Overloaded                 // no more executions may run, or no more requests may wait
	Poisoned                   // its executions failed as often as they may; it is not executed
	Doubtful                   // an attempt may have had its effect; it is not executed (StopInDoubt)
	Mismatched                 // another body than the one that is, or was, executed (RejectMismatch)
	Missing                    // to Find: there is no record
)

// String returns the outcome's word in metrics and traces.
func (o Outcome) String() string {
	return [...]string{
		Executed: "executed", Replayed: "replayed", Waited: "waited", Processing: "still_processing", Failed: "failed",
		Unavailable: "unavailable", Foreign: "foreign", Unreadable: "unreadable", Refused: "refused", Limited: "limited",
		Overloaded: "overloaded", Poisoned: "poisoned", Doubtful: "doubtful", Mismatched: "mismatched", Missing: "missing",
	}[o]
}

// AnswerTimes are the seconds from a webhook's arrival to its answer, by outcome.
type AnswerTimes [Missing + 1]meter.Histogram

// Answer is what a webhook gets.
type Answer struct {
	Outcome Outcome
	Attempt int64         // of the execution that brought the outcome; 0: not known
	Result  record.Result // Executed, Replayed, Waited; must not be changed
	Age     time.Duration // since the result was stored, by Redis' clock; never negative

	RetryAfter time.Duration // Failed, Refused, Limited: how long to wait before asking again; 0: not known

	// Mismatch says that another body than the webhook's is, or was, executed. It is false if that is not known, as before
	// a claim has been answered.
	Mismatch bool
}
