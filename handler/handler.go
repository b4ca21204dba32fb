// Package handler speaks HTTP outside and calls the gate inside. It decodes a webhook and computes its fingerprint
// (decode.go), lets the gate replay it or execute it with the business logic (package logic), and words the answer
// (respond.go).
package handler

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/identity"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/internal/signature"
	"github.com/oncegate/oncegate/internal/span"
)

// Handler answers HTTP requests.
type Handler struct {
	Options
	gate       *gate.Gate
	door       atomic.Pointer[door]
	bodyCache  bodyCache
	bodies     bodies
	full       rarely // limits the warning that bodies have no room
	deliveries sync.Pool
	took       gate.AnswerTimes
	tracer     span.Tracer // nil: nothing is traced
	draining   atomic.Bool
}

// Options are a handler's settings, and those for a tenant's webhooks.
type Options struct {
	Tenant           string              // its name; "": there are none
	Identity         identity.Identity   // what tells webhooks apart
	Signature        *signature.Verifier // nil: requests need no signature
	Allow            []netip.Prefix      // where callers may come from; nil: from anywhere
	ProcessingStatus int                 // the answer to a request that waited in vain: 409, 202, 425 or 503
	Passthrough      bool                // results are answered as they are, not in an envelope
	APIKeys          []string            // a request must show one of them; none: it is open to all
	ForwardHeaders   []string            // headers of a request that the logic gets
	MaxBodyBytes     int                 // of one request
	BodyMemory       int                 // bytes for all bodies under way, beyond 8 KiB of each; 0: no bound
	Proxies          []netip.Prefix      // proxies whose X-Forwarded-For is believed

	TrailFields [][]string // fields of a JSON body for the trail: names of members, one inside the other

	Seal *seal.Keys // the gate's keys, which also key the digests of bodies; nil: digests are plain

	Log *slog.Logger
}

// New returns a handler before a gate that has been started.
func New(g *gate.Gate, l logic.Logic, o Options) *Handler {
	h := newHandler(g, o)
	h.admit(newTenant(o, nil, l))
	return h
}

func newHandler(g *gate.Gate, o Options) *Handler {
	return &Handler{
		Options: o, gate: g, bodies: bodies{room: int64(o.BodyMemory)}, bodyCache: bodyCache{seed: maphash.MakeSeed()},
	}
}

// admit puts a new door in place of the one that is there: from the next request on these tenants come in.
func (h *Handler) admit(tenants ...*tenant) { h.door.Store(newDoor(h.Proxies, tenants...)) }

// Drain makes /readyz say no, and closes each connection with its next answer: the program is about to stop.
func (h *Handler) Drain() { h.draining.Store(true) }

// Serve answers one request.
func (h *Handler) Serve(ctx *fasthttp.RequestCtx) {
	defer func() {
		if p := recover(); p != nil {
			h.Log.Error("panic in a handler", "panic", p, "stack", string(debug.Stack()))
			ctx.Response.Reset()
			respondDetail(ctx, fasthttp.StatusInternalServerError, detailFailed)
		}
		sandbox(&ctx.Response.Header)
		if h.draining.Load() {
			ctx.SetConnectionClose()
		}
	}()
	problem, last := framingProblem(&ctx.Request.Header)
	if last {
		ctx.SetConnectionClose()
	}
	if problem != "" {
		h.count(nil, link.Malformed)
		respondDetail(ctx, fasthttp.StatusBadRequest, problem)
		return
	}
	switch path := canonicalPath(ctx); string(path) {
	case "/healthz":
		if allow(ctx, fasthttp.MethodGet, fasthttp.MethodHead) {
			respond(ctx, fasthttp.StatusOK, `{"status":"alive"}`)
		}
	case "/readyz":
		if allow(ctx, fasthttp.MethodGet, fasthttp.MethodHead) {
			h.ready(ctx)
		}
	default:
		if h.serve(ctx, routeOf(path)) {
			return // the body has been read
		}
	}
	letFinish(ctx)
}

// serve answers a request about webhooks. read: it has read the body.
func (h *Handler) serve(ctx *fasthttp.RequestCtx, r route) (read bool) {
	switch {
	case !r.known:
		respondDetail(ctx, fasthttp.StatusNotFound, "Not found: webhooks go to "+webhookPath)
		return false
	case r.named == nil && !allow(ctx, fasthttp.MethodPost),
		r.named != nil && !allow(ctx, fasthttp.MethodGet, fasthttp.MethodHead), !sameOrigin(ctx):
		return false
	}
	t, ok := h.comesIn(ctx, r)
	switch {
	case !ok:
	case r.named != nil:
		h.find(ctx, t, string(r.named))
	case t.Identity.Header != "" || decodable(ctx):
		h.traced(ctx, t, r)
		return true
	}
	return false
}

// canonicalPath returns the path of a request's target exactly as it was sent. A path that becomes ours only after it
// is normalised (//webhook, /x/.., %2f) counts as another path: a proxy before us may have rules for our path that
// would not match that spelling.
func canonicalPath(ctx *fasthttp.RequestCtx) []byte {
	target := ctx.Request.Header.RequestURI()
	switch {
	case bytes.IndexByte(target, '#') >= 0: // no target has a fragment (RFC 9112, section 3.2)
		return nil
	case len(target) > 0 && target[0] == '/':
		path, _, _ := bytes.Cut(target, []byte{'?'})
		return path
	}
	return ctx.URI().PathOriginal() // the target is a whole URL
}

// colon replaces JavaScript's percent-encoding (encodeURIComponent) of the colons in a fingerprint.
var colon = strings.NewReplacer("%3A", ":", "%3a", ":")

// find answers what became of a webhook. It executes nothing and counts nothing.
func (h *Handler) find(ctx *fasthttp.RequestCtx, t *tenant, named string) {
	name, err := fingerprint.Parse(colon.Replace(named))
	if err != nil {
		respondDetail(ctx, fasthttp.StatusBadRequest, "A fingerprint is 64 hex digits, with or without cognigy:fp: "+
			"before them")
		return
	}
	answer := h.gate.Find(t.gate, name)
	t.respond(ctx, name, answer)
	if answer.Outcome == gate.Processing {
		// 202 whatever PROCESSING_STATUS is: this request only asked, and was answered
		ctx.Response.SetStatusCode(fasthttp.StatusAccepted)
	}
}

func (h *Handler) ready(ctx *fasthttp.RequestCtx) {
	switch err := h.served(); {
	case errors.Is(err, errDraining):
		respondRetry(ctx, "Shutting down")
	case err != nil:
		respondRetry(ctx, detailUnavailable)
	// 503 would take all replicas out of the load balancer at once, together with the duplicates that they can still
	// answer
	case h.gate.RefusesWrites():
		respond(ctx, fasthttp.StatusOK, `{"status":"ready","writes":"refused"}`)
	default:
		respond(ctx, fasthttp.StatusOK, `{"status":"ready"}`)
	}
}

var errDraining = errors.New("shutting down")

// served returns nil if webhooks are served, otherwise the reason why not.
func (h *Handler) served() error {
	if h.draining.Load() {
		return errDraining
	}
	return h.gate.Ready()
}

// webhook answers a request that brings a webhook. s is its span; nil: nothing is traced.
func (h *Handler) webhook(ctx *fasthttp.RequestCtx, t *tenant, s span.Request) {
	read, err := h.bodies.read(ctx, t.MaxBodyBytes)
	if err != nil {
		h.respondUnread(ctx, t, err)
		return
	}
	defer h.bodies.release(read)
	header := &ctx.Request.Header
	if len(header.PeekTrailerKeys()) > 0 { // they come after the body
		h.count(t, link.Malformed)
		respondDetail(ctx, fasthttp.StatusBadRequest, detailTrailers)
		return
	}
	arrived := ctx.Time()
	if read.late {
		arrived = time.Now()
	}
	if t.Signature != nil && t.Signature.Verify(once(header), read.text, time.Now()) != nil {
		h.count(t, link.Unsigned)
		respondDetail(ctx, fasthttp.StatusUnauthorized, "The signature is missing or wrong")
		return
	}
	body, inBody := read.text, t.Identity.Header == ""
	if inBody {
		body = bytes.TrimPrefix(body, byteOrderMark)
	}
	prefers := preferred(header, h.gate.Known(t.gate).WaitTimeout)
	if inBody {
		if known := h.bodyCache.find(t, body); known != nil {
			w := gate.Request{Tenant: t.gate, Fingerprint: known.name, Digest: known.digest, Arrived: arrived, Span: s}
			if answer, done := h.gate.Replay(w); done {
				h.tell(ctx, t, known.name, &answer, prefers, s)
				return
			}
		}
	}
	d := h.delivery(t)
	defer h.release(d)
	name, errs := d.identify(header, body)
	if errs != nil {
		h.count(t, link.Malformed)
		respondErrors(ctx, errs)
		return
	}
	sum := sha256.Sum256(body)
	digest := t.Seal.Digest(record.Digest(sum[:len(record.Digest{})]))
	w := gate.Request{
		Tenant: t.gate, Fingerprint: name, Digest: digest, Arrived: arrived, Wait: prefers.wait, Source: d, Span: s,
	}
	answer, done := h.gate.Replay(w)
	switch {
	case !done:
		d.header, d.body, d.name = header, body, name
		answer = h.gate.Do(w)
	case inBody:
		h.bodyCache.add(cachedBody{t, body, name, digest})
	}
	h.tell(ctx, t, name, &answer, prefers, s)
}

// tell answers a webhook that reached the gate.
func (h *Handler) tell(
	ctx *fasthttp.RequestCtx, t *tenant, name fingerprint.Fingerprint, a *gate.Answer, p preference, s span.Request,
) {
	t.respond(ctx, name, *a)
	p.apply(&ctx.Response, a.Outcome)
	h.took[a.Outcome].ObserveSince(ctx.Time())
	if s != nil {
		h.traceAnswer(s, ctx.Time(), name, a)
	}
}

// once returns a function for the value of a header that the request has exactly once.
func once(header *fasthttp.RequestHeader) func(name string) string {
	return func(name string) string {
		if values := header.PeekAll(name); len(values) == 1 {
			return string(values[0])
		}
		return ""
	}
}

// respondUnread answers a webhook whose body could not be read. The rest of the body is not taken for a request.
func (h *Handler) respondUnread(ctx *fasthttp.RequestCtx, t *tenant, err error) {
	ctx.SetConnectionClose()
	if !errors.Is(err, errNoRoom) {
		if status, _ := unreadable(err); status == fasthttp.StatusBadRequest {
			h.count(t, link.Malformed)
		}
		respondUnreadable(ctx, err)
		return
	}
	if h.full.now() {
		h.Log.Warn("the memory for bodies is used up: further webhooks are answered 503; raise BODY_MEMORY",
			"bytes", h.BodyMemory)
	}
	drain(ctx.Conn())
	respondRetry(ctx, detailOverloaded)
}

// decodable answers 415 to a body that is not JSON by its headers.
func decodable(ctx *fasthttp.RequestCtx) bool {
	problem := bodyProblem(&ctx.Request.Header)
	if problem == "" {
		return true
	}
	respondDetail(ctx, fasthttp.StatusUnsupportedMediaType, problem)
	return false
}

// bodyProblem returns a sentence if the headers declare a body that cannot be read as JSON. A body without a content
// type, or of any type other than a form, is read as JSON: flows and tools often send text/plain.
func bodyProblem(header *fasthttp.RequestHeader) (problem string) {
	if encoding := header.ContentEncoding(); len(encoding) > 0 && !bytes.EqualFold(encoding, noEncoding) {
		return "A body with a Content-Encoding is not read: send plain JSON"
	}
	kind, _, _ := bytes.Cut(header.ContentType(), []byte{';'})
	kind = bytes.TrimSpace(kind)
	if bytes.EqualFold(kind, formURLEncoded) || bytes.EqualFold(kind, formMultipart) {
		return "A form is not read: send JSON, with Content-Type: application/json"
	}
	return ""
}

// byteOrderMark is removed from the start of a body, as a reader may do (RFC 8259, section 8.1). So the digest, and the
// body that the logic gets, are the same with and without it.
var byteOrderMark = []byte("\xef\xbb\xbf")

var (
	noEncoding     = []byte("identity") // the name of no encoding (RFC 9110, section 8.4.1)
	formURLEncoded = []byte("application/x-www-form-urlencoded")
	formMultipart  = []byte("multipart/form-data")
)
