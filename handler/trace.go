package handler

import (
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/span"
)

// Trace makes a tracer (package tracing) follow each webhook. It is called before Serve, which closes the tracer when
// it ends.
func (g *Gateway) Trace(t span.Tracer) { g.handler.tracer = t }

// traced answers a request that brings a webhook, within a span if webhooks are traced.
func (h *Handler) traced(ctx *fasthttp.RequestCtx, t *tenant, r route) {
	if h.tracer == nil {
		h.webhook(ctx, t, nil)
		return
	}
	path := webhookPath
	if r.tenant != nil {
		path = tenantPath + "{tenant}"
	}
	s := h.tracer.Arrive(path, t.Tenant, once(&ctx.Request.Header))
	status := fasthttp.StatusInternalServerError // if the handler panics
	defer func() { s.End(status) }()
	h.webhook(ctx, t, s)
	status = ctx.Response.StatusCode()
}

// traceAnswer notes in a request's span how it was answered, and keeps its trace as an example of how long that takes.
func (h *Handler) traceAnswer(s span.Request, began time.Time, name fingerprint.Fingerprint, a *gate.Answer) {
	s.Told(span.Answer{Fingerprint: name, Outcome: a.Outcome.String(), Attempt: a.Attempt, Age: a.Age})
	if id, recorded := s.Trace(); recorded {
		h.took[a.Outcome].Exemplify(time.Since(began).Seconds(), id)
	}
}
