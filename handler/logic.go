package handler

import (
	"context"
	"fmt"

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

// LogicFunc is a function that is a Logic.
type LogicFunc func(ctx context.Context, w Webhook) (Result, error)

// Execute calls f.
func (f LogicFunc) Execute(ctx context.Context, w Webhook) (Result, error) { return f(ctx, w) }

// Webhook is what a flow sent. It belongs to the logic and stays as it is after Execute has returned.
type Webhook struct {
	DialogID, NodeID string
	Sequence         int64
	Variables        []byte // JSON text of an object
	Body             []byte // the whole body, with fields that Oncegate does not know

	Fingerprint fingerprint.Fingerprint
	Attempt     int64 // 1 for the first execution, more for each later one
}

// Result is what every delivery of the webhook gets. Body must not be changed any more.
type Result = record.Result

// JSON makes a result of what go-json can marshal.
func JSON(v any) (Result, error) {
	body, err := json.MarshalWithOption(v, json.DisableHTMLEscape())
	if err != nil {
		return Result{}, fmt.Errorf("result: %w", err)
	}
	return Result{Status: 200, ContentType: record.JSON, Body: body}, nil
}

// checked makes sure that a result can stand as data in an answer.
func checked(r Result, err error) (Result, error) {
	if err != nil {
		return r, err
	}
	if r.Status != 200 || r.ContentType != record.JSON || !json.Valid(r.Body) {
		return r, fmt.Errorf("the logic's result must be valid JSON with status 200, but is %q with status %d, %d bytes", r.ContentType, r.Status, len(r.Body))
	}
	return r, nil
}
