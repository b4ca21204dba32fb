package handler

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"unsafe"

	"github.com/goccy/go-json"
	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
)

// delivery is a request whose webhook may have to be executed.
type delivery struct {
	payload

	tenant *tenant
	header *fasthttp.RequestHeader
	body   []byte
	name   fingerprint.Fingerprint
}

// delivery returns an unused delivery for a tenant.
func (h *Handler) delivery(t *tenant) *delivery {
	d, ok := h.deliveries.Get().(*delivery)
	if !ok {
		d = new(delivery)
	}
	d.tenant = t
	return d
}

// release lets a delivery be used again, and drops its request.
func (h *Handler) release(d *delivery) {
	clear(d.parts)
	*d = delivery{payload: payload{scratch: d.scratch, parts: d.parts[:0]}}
	h.deliveries.Put(d)
}

// Detach copies what the logic gets, because fasthttp uses the memory of its request again.
func (d *delivery) Detach() gate.Work {
	copies := make([]byte, 0, len(d.dialogID)+len(d.nodeID)+len(d.variables)+len(d.body))
	part := func(of []byte) []byte {
		from := len(copies)
		copies = append(copies, of...)
		return copies[from:len(copies):len(copies)]
	}
	e := &execution{logic: d.tenant.logic, webhook: logic.Webhook{
		Tenant: d.tenant.Tenant, Body: part(d.body), Fingerprint: d.name,
	}}
	switch id := &d.tenant.Identity; {
	case id.Cognigy():
		e.webhook.DialogID, e.webhook.NodeID = textOf(part(d.dialogID)), textOf(part(d.nodeID))
		e.webhook.Sequence, e.webhook.Variables = d.sequence, part(d.variables)
	case id.Header != "": // the body may be of any type
		e.webhook.ContentType = cmp.Or(string(d.header.ContentType()), "application/octet-stream")
		e.webhook.ContentEncoding = string(d.header.ContentEncoding())
	}
	for _, name := range d.tenant.ForwardHeaders {
		if ofConnection(d.header, name) {
			continue
		}
		for _, value := range d.header.PeekAll(name) {
			e.webhook.Headers = append(e.webhook.Headers, logic.Header{Name: name, Value: string(value)})
		}
	}
	return e
}

// textOf returns a text that shares this memory. Nobody may write to the memory while the text is in use.
func textOf(memory []byte) string { return unsafe.String(unsafe.SliceData(memory), len(memory)) }

// execution is the part of a delivery that the logic needs.
type execution struct {
	logic   logic.Logic
	webhook logic.Webhook
}

// Run runs the logic on the webhook.
func (e *execution) Run(ctx context.Context, attempt int64, inDoubt bool) (record.Result, error) {
	w := e.webhook
	w.Attempt, w.InDoubt = attempt, inDoubt
	return checked(e.logic.Execute(ctx, w))
}

// LogValue returns the webhook's name in logs.
func (e *execution) LogValue() slog.Value { return e.webhook.LogValue() }

// checked refuses a result that is declared as JSON but is not: it would not fit into an envelope as data. respond.go
// quotes results of every other type.
func checked(r logic.Result, err error) (logic.Result, error) {
	if err == nil && r.ContentType == record.JSON && !json.Valid(r.Body) {
		return r, fmt.Errorf("the logic's result is declared as %s but is not valid, %d bytes: %w",
			record.JSON, len(r.Body), logic.ErrOutcomeUnknown)
	}
	return r, err
}

// ofConnection reports whether the Connection header of a request names this header. Such a header belongs to this
// connection alone and is not handed on (RFC 9110, section 7.6.1).
func ofConnection(header *fasthttp.RequestHeader, name string) bool {
	for _, value := range header.PeekAll(fasthttp.HeaderConnection) {
		for option := range bytes.SplitSeq(value, []byte{','}) {
			if strings.EqualFold(string(bytes.TrimSpace(option)), name) {
				return true
			}
		}
	}
	return false
}
