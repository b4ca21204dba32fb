// Package logic is what business logic sees of the gateway: the webhook that it is given, the result or the error that
// it returns, and what more it may say of itself (Admitter, Asker, Gauger). Echo is the logic that runs when no other
// is chosen. A program of one's own imports this package for its logic, and package handler to put a gateway before it.
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

// Logic is the business logic behind the gate: what must happen once for a webhook.
type Logic interface {
	// Execute does it. An error leaves the webhook retryable: the next delivery executes again, as a later attempt. Its
	// text goes into the log: keep payload values out of it. The context ends after EXECUTION_TIMEOUT, when the lease is
	// lost, or when the gateway shuts down; logic that goes on regardless keeps its webhook's lease until it returns.
	//
	// Logic that crashes after it had an effect runs again: give w.Fingerprint to what it calls, as an idempotency key.
	Execute(ctx context.Context, w Webhook) (Result, error)
}

// Func is a function that is a Logic.
type Func func(ctx context.Context, w Webhook) (Result, error)

// Execute calls f.
func (f Func) Execute(ctx context.Context, w Webhook) (Result, error) { return f(ctx, w) }

// Webhook is what a flow sent. It belongs to the logic and stays as it is after Execute has returned.
type Webhook struct {
	DialogID, NodeID string
	Sequence         int64
	Variables        []byte // JSON text of an object
	Body             []byte // the whole body, with fields that Oncegate does not know

	Headers []Header // those of the request that the gateway was told to hand on (FORWARD_HEADERS)

	Fingerprint fingerprint.Fingerprint
	Attempt     int64 // 1 for the first execution, more for each later one

	// InDoubt says that nobody knows what became of an earlier attempt: it crashed, was cut off, or ended with
	// ErrOutcomeUnknown. Logic that can find out should, before it acts again.
	InDoubt bool
}

// LogValue is the webhook's identity: a log must not get the payload.
func (w Webhook) LogValue() slog.Value {
	return slog.GroupValue(slog.String("dialog", w.DialogID), slog.String("node", w.NodeID),
		slog.Int64("sequence", w.Sequence))
}

// Header is one header of a request or a result.
type Header = record.Header

// Errors that say more of a failed execution than that it failed. Wrap them.
var (
	// ErrOutcomeUnknown says that the execution may have had its effect: the next attempt is told so (InDoubt). Without
	// it an error means that the failure is certain.
	ErrOutcomeUnknown = record.ErrOutcomeUnknown
	// ErrRefused says that nothing was done, and may be tried again soon: callers get 503 rather than 500.
	ErrRefused = record.ErrRefused
	// ErrUnasked says that an attempt in doubt learned nothing certain of the earlier one, and that it executed nothing
	// itself. Wrap it together with ErrOutcomeUnknown: the doubt stays.
	ErrUnasked = record.ErrUnasked
)

// Causes for which the context of an execution ends early (context.Cause). A shutdown has another one.
var (
	// ErrTimeout says that EXECUTION_TIMEOUT has passed.
	ErrTimeout = record.ErrTimeout
	// ErrLeaseLost says that another replica may execute this webhook by now: return, without another effect.
	ErrLeaseLost = record.ErrLeaseLost
)

// Admitter is a Logic that can tell beforehand that it would refuse: then nothing is claimed, and a webhook that would
// have to be executed is answered 503. Replays go on.
type Admitter interface {
	// Admit is called for each webhook that is not replayed: it must be fast. Where it says no, wait is how long that will
	// last, for the callers' Retry-After; 0 if it is not known.
	Admit() (wait time.Duration, ok bool)
}

// RetryAfter returns an error of logic that wraps err and says when a retry may do better: all who waited for the
// execution get it as Retry-After, in whole seconds, at most an hour.
func RetryAfter(err error, after time.Duration) error { return record.RetryAfter(err, after) }

// Asker is a Logic that can tell whether it finds out what became of an attempt in doubt (Webhook.InDoubt) before it
// acts. Logic that is no Asker does not.
type Asker interface {
	// Asks is called once, when the gateway starts.
	Asks() bool
}

// Gauger is a Logic with a state that people watch, such as since when a service is down.
type Gauger interface {
	// Gauges is called once, before the first webhook. set writes a number into the metrics hash, in the background, and
	// oncegate stats prints it under "Others". Choose a field that no counter has.
	Gauges(set func(field string, value int64))
}

// Result is what every delivery of the webhook gets: with a status of 2xx a success, with 4xx a final refusal
// (REJECTED_TTL). Its body must not be changed any more.
type Result = record.Result

// JSON makes a result of what go-json can marshal.
func JSON(v any) (Result, error) {
	body, err := json.MarshalWithOption(v, json.DisableHTMLEscape())
	if err != nil {
		return Result{}, fmt.Errorf("result: %w", err)
	}
	return Result{Status: 200, ContentType: record.JSON, Body: body}, nil
}
