// Package handler speaks HTTP outside and calls the gate inside. It decodes a webhook and computes its fingerprint
// (decode.go), lets the gate replay it or execute it with the business logic (package logic), and words the answer
// (respond.go).
package handler

import (
	"bytes"

	"crypto/sha256"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/seal"
)

// Handler answers HTTP requests.
type Handler struct {
	Options
	gate       *gate.Gate
	logic      logic.Logic
	apiKeys    apiKeys
	bodyCache  bodyCache
	bodies     bodies
	full       rarely // limits the warning that bodies have no room
	deliveries sync.Pool
	draining   atomic.Bool
}

// Options are a handler's settings.
type Options struct {
	ProcessingStatus int      // of the answer "still processing": 409, 202, 425 or 503
	Passthrough      bool     // a result is the answer itself, without an envelope
	APIKeys          []string // callers must show one of them; empty: no key is asked for
	ForwardHeaders   []string // names of the request headers that the logic gets
	MaxBodyBytes     int      // bound of one body
	BodyMemory       int      // bytes for all bodies under way, not counting the first 8 KiB of each; 0: no bound

	Seal *seal.Keys // the gate's keys, which also key the digests of bodies; nil: digests are plain

	Log *slog.Logger
}

// New returns a handler before a gate that has been started.
func New(g *gate.Gate, l logic.Logic, o Options) *Handler {
	return &Handler{
		Options: o, gate: g, logic: l, apiKeys: newAPIKeys(o.APIKeys), bodies: bodies{most: o.MaxBodyBytes,
			room: int64(o.BodyMemory)},
	}
}

// Drain makes /readyz answer 503 and closes each connection with its next answer: the program is about to stop.
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
		h.gate.CountMalformed()
		respondDetail(ctx, fasthttp.StatusBadRequest, problem)
		return
	}
	switch path := canonicalPath(ctx); string(path) {
	case webhookPath:
		if allow(ctx, fasthttp.MethodPost) && sameOrigin(ctx) && h.identified(ctx) && h.decodable(ctx) {
			h.webhook(ctx)
			return // webhook has read the body: nothing is left for letFinish
		}
	case "/healthz":
		if allow(ctx, fasthttp.MethodGet, fasthttp.MethodHead) {
			respond(ctx, fasthttp.StatusOK, `{"status":"alive"}`)
		}
	case "/readyz":
		if allow(ctx, fasthttp.MethodGet, fasthttp.MethodHead) {
			h.ready(ctx)
		}
	default:
		named, ok := bytes.CutPrefix(path, []byte(webhookPath+"/"))
		switch {
		case !ok || len(named) == 0 || bytes.IndexByte(named, '/') >= 0:
			respondDetail(ctx, fasthttp.StatusNotFound, "Not found: webhooks go to "+webhookPath)
		case allow(ctx, fasthttp.MethodGet, fasthttp.MethodHead) && sameOrigin(ctx) && h.identified(ctx):
			h.find(ctx, string(named))
		}
	}
	letFinish(ctx)
}

const webhookPath = "/webhook/cognigy"

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

// identified reports whether the request shows a valid key. If not, it answers 401.
func (h *Handler) identified(ctx *fasthttp.RequestCtx) bool {
	if h.apiKeys.admits(&ctx.Request.Header) {
		return true
	}
	h.gate.CountUnauthorized()
	ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, `Bearer realm="oncegate", Basic realm="oncegate"`)
	respondDetail(ctx, fasthttp.StatusUnauthorized, "An API key is missing or wrong")
	return false
}

// colon restores the colons of a fingerprint that went through JavaScript's encodeURIComponent.
var colon = strings.NewReplacer("%3A", ":", "%3a", ":")

// find answers what has become of a webhook. It executes nothing and counts nothing.
func (h *Handler) find(ctx *fasthttp.RequestCtx, named string) {
	name, err := fingerprint.Parse(colon.Replace(named))
	if err != nil {
		respondDetail(ctx, fasthttp.StatusBadRequest, "A fingerprint is 64 hex digits, with or without cognigy:fp: "+
			"before them")
		return
	}
	answer := h.gate.Find(name)
	h.respond(ctx, name, answer)
	if answer.Outcome == gate.Processing {
		// 202 whatever PROCESSING_STATUS is: this request only asked, and was answered
		ctx.Response.SetStatusCode(fasthttp.StatusAccepted)
	}
}

func (h *Handler) ready(ctx *fasthttp.RequestCtx) {
	if h.draining.Load() {
		respondRetry(ctx, "Shutting down")
		return
	}
	if err := h.gate.Ready(); err != nil {
		respondRetry(ctx, detailUnavailable)
		return
	}
	// 503 would take all replicas out of the load balancer at once, together with the duplicates that they can still
	// answer
	if h.gate.RefusesWrites() {
		respond(ctx, fasthttp.StatusOK, `{"status":"ready","writes":"refused"}`)
		return
	}
	respond(ctx, fasthttp.StatusOK, `{"status":"ready"}`)
}

func (h *Handler) webhook(ctx *fasthttp.RequestCtx) {
	read, err := h.bodies.read(ctx)
	if err != nil {
		h.respondUnread(ctx, err)
		return
	}
	defer h.bodies.release(read)
	if len(ctx.Request.Header.PeekTrailerKeys()) > 0 { // fasthttp knows them only after the body
		h.gate.CountMalformed()
		respondDetail(ctx, fasthttp.StatusBadRequest, detailTrailers)
		return
	}
	arrived := ctx.Time()
	if read.late {
		arrived = time.Now()
	}
	body := bytes.TrimPrefix(read.text, byteOrderMark)
	sum := sha256.Sum256(body)
	prefers := preferred(&ctx.Request.Header, h.gate.WaitTimeout())
	if known := h.bodyCache.find(&sum); known != nil {
		if answer, done := h.gate.Replay(known.name, known.digest); done {
			h.respond(ctx, known.name, answer)
			prefers.apply(&ctx.Response, answer.Outcome)
			return
		}
	}
	d := h.delivery()
	defer h.release(d)
	if errs := d.decode(body); errs != nil {
		h.gate.CountMalformed()
		respondErrors(ctx, errs)
		return
	}
	name := fingerprint.Of(d.dialogID, d.nodeID, d.sequence)
	digest := h.Seal.Digest(record.Digest(sum[:len(record.Digest{})]))
	answer, done := h.gate.Replay(name, digest)
	if done {
		h.bodyCache.add(cachedBody{sum, name, digest})
	} else {
		d.header, d.body, d.name = &ctx.Request.Header, body, name
		answer = h.gate.Do(gate.Request{
			Fingerprint: name, Digest: digest, Arrived: arrived, Wait: prefers.wait, Source: d,
		})
	}
	h.respond(ctx, name, answer)
	prefers.apply(&ctx.Response, answer.Outcome)
}

// respondUnread answers a webhook whose body could not be read. It closes the connection, so that the rest of the body
// is not read as the next request.
func (h *Handler) respondUnread(ctx *fasthttp.RequestCtx, err error) {
	ctx.SetConnectionClose()
	if !errors.Is(err, errNoRoom) {
		if status, _ := unreadable(err); status == fasthttp.StatusBadRequest {
			h.gate.CountMalformed()
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

// decodable reports whether the headers let a body be JSON. If not, it answers 415.
func (h *Handler) decodable(ctx *fasthttp.RequestCtx) bool {
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
	if encoding := header.ContentEncoding(); len(encoding) > 0 && !bytes.EqualFold(encoding, identity) {
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
	identity       = []byte("identity") // means that there is no encoding (RFC 9110, section 8.4.1)
	formURLEncoded = []byte("application/x-www-form-urlencoded")
	formMultipart  = []byte("multipart/form-data")
)
