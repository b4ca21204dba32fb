// Package logic is the part of the gateway that business logic sees: the webhook that it gets, the result or the error
// that it returns, and what else it may tell the gateway (Admitter, Asker, Gauger). A program with logic of its own
// imports this package for the logic, and package handler to put a gateway before it.
package logic

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/goccy/go-json"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

// Logic is the business logic behind the gate: the work that must happen once for each webhook.
type Logic interface {
	// Execute runs the logic. After an error the webhook stays retryable: the next delivery executes it again, as a later
	// attempt. The text of the error goes into the log: keep values of the payload out of it. The context ends after
	// EXECUTION_TIMEOUT, when the lease is lost, or when the gateway shuts down. Logic that goes on regardless keeps its
	// webhook's lease until it returns.
	//
	// Logic that crashes after it had an effect runs again: pass w.Fingerprint as an idempotency key to every service that
	// it calls.
	Execute(ctx context.Context, w Webhook) (Result, error)
}

// Func makes a function a Logic.
type Func func(ctx context.Context, w Webhook) (Result, error)

// Execute calls f.
func (f Func) Execute(ctx context.Context, w Webhook) (Result, error) { return f(ctx, w) }

// Webhook is what a flow sent. It belongs to the logic: the gateway does not change or reuse it, even after Execute has
// returned.
type Webhook struct {
	Tenant string // its owner; "": the gateway has no tenants

	// Set if IDENTITY is cognigy. With another identity they are empty, and Variables is nil.
	DialogID, NodeID string
	Sequence         int64
	Variables        []byte // JSON text of an object

	Body []byte // the whole body, with fields that Oncegate does not know

	// The encoding of the body, set if IDENTITY is a header. With another identity they are empty, and the body is JSON.
	ContentType, ContentEncoding string

	Headers []Header // the request headers that FORWARD_HEADERS names

	Fingerprint fingerprint.Fingerprint
	Attempt     int64 // 1 for the first execution, more for each later one

	// InDoubt says that the outcome of an earlier attempt is unknown: it crashed, was cut off, or ended with
	// ErrOutcomeUnknown. Logic that can find out what that attempt did should do so before it acts again.
	InDoubt bool
}

// LogValue returns the webhook's identity. It keeps the payload out of the log.
func (w Webhook) LogValue() slog.Value {
	if w.Variables == nil { // another identity is payload
		return slog.GroupValue()
	}
	return slog.GroupValue(slog.String("dialog", w.DialogID), slog.String("node", w.NodeID),
		slog.Int64("sequence", w.Sequence))
}

// Header is one header of a request or a result.
type Header = record.Header

// Errors with which the logic says more about a failed execution. Wrap them.
var (
	// ErrOutcomeUnknown says that the execution may have had its effect. The next attempt is told so (InDoubt). An error
	// that does not wrap it means that the execution certainly failed.
	ErrOutcomeUnknown = record.ErrOutcomeUnknown
	// ErrRefused says that nothing was done and that a retry may succeed soon: callers get 503 instead of 500.
	ErrRefused = record.ErrRefused
	// ErrUnasked says that an attempt in doubt could not find out what the earlier one did, and executed nothing itself.
	// Wrap it together with ErrOutcomeUnknown: the doubt stays.
	ErrUnasked = record.ErrUnasked
)

// The causes with which an execution's context ends early (context.Cause). After a shutdown the cause is neither of
// them.
var (
	// ErrTimeout says that EXECUTION_TIMEOUT has passed.
	ErrTimeout = record.ErrTimeout
	// ErrLeaseLost says that another replica may be executing this webhook by now: return without another effect.
	ErrLeaseLost = record.ErrLeaseLost
)

// Admitter is a Logic that can say in advance that it would refuse. Then nothing is claimed: a webhook that would have
// to be executed is answered 503, and replays go on.
type Admitter interface {
	// Admit is called for each webhook that is not replayed: it must be fast. If ok is false, wait is how long the logic
	// expects to refuse, for the callers' Retry-After; 0 if it does not know.
	Admit() (wait time.Duration, ok bool)
}

// RetryAfter returns an error that wraps err and says when a retry may succeed. All callers that waited for the
// execution get it as Retry-After, in whole seconds, at most an hour.
func RetryAfter(err error, after time.Duration) error { return record.RetryAfter(err, after) }

// Asker is a Logic that can find out what became of an attempt in doubt (Webhook.InDoubt) before it acts. The gateway
// assumes that any other Logic cannot.
type Asker interface {
	// Asks reports whether the logic finds out. It is called once, when the gateway starts.
	Asks() bool
}

// Gauger is a Logic with a state that operators watch, such as the time since when a service has been down.
type Gauger interface {
	// Gauges is called once, before the first webhook. set writes a number into the metrics hash in the background, and
	// oncegate stats prints it under "Others". Choose a field name that no counter has.
	Gauges(set func(field string, value int64))
}

// Result is what every delivery of the webhook gets. A status of 2xx is a success, 4xx a final refusal (REJECTED_TTL).
// The body must not be changed after Execute has returned it.
type Result = record.Result

// JSON returns a result with status 200 and v as its body, marshalled by go-json.
func JSON(v any) (Result, error) {
	body, err := json.MarshalWithOption(v, json.DisableHTMLEscape())
	if err != nil {
		return Result{}, fmt.Errorf("result: %w", err)
	}
	return Result{Status: 200, ContentType: record.JSON, Body: body}, nil
}
