package handler

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-json"
	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
)

// The details in answers. None of them needs an escape in JSON.
const (
	detailMalformed   = "Missing or malformed Cognigy.AI payload"
	detailFailed      = "Internal processing error"
	detailUnavailable = "Cache service unavailable"
	detailForeign     = "Cache service unavailable: a value that is not Oncegate's stands at this webhook's key"
	detailUnreadable  = "Cache service unavailable: this webhook's result is sealed under a key that this replica " +
		"does not have"
	detailProcessing = "This webhook is being processed: ask again"
	detailRefused    = "Upstream unavailable: nothing was executed, ask again"
	detailMismatch   = "Another body came before with this identity: it is a different webhook, or was changed"
	detailOverloaded = "Overloaded: nothing was executed, ask again"
	detailLimited    = "As many executions were begun as may be (executions_per_second): nothing was executed, ask again"
	detailPoisoned   = "Its executions failed or crashed MAX_ATTEMPTS times: it is not executed any more, " +
		"until a person " +
		"decides (oncegate poisoned)"
	detailDoubtful = "An earlier attempt may have had its effect and nobody knows: it is not executed any more, until a " +
		"person decides (oncegate doubtful)"
	detailMissing = "No webhook with this fingerprint is known: it never came, or its time is over"
)

// retryAfter is the default of the Retry-After header, in seconds.
const retryAfter = "1"

// maxRetryAfter bounds the Retry-After header: if a backend is away for longer, callers ask once in that time.
const maxRetryAfter = time.Hour

// outcomes is the only place where the outcome of a webhook is mapped to HTTP. A code of 0 stands for
// PROCESSING_STATUS.
var outcomes = [...]struct {
	code   int
	header []byte // Idempotency-Status
	status string // in the envelope; "" for a plain error
	detail string
	retry  bool
}{
	gate.Executed:    {code: 200, header: []byte("executed"), status: "success"},
	gate.Replayed:    {code: 200, header: []byte("replayed"), status: "cached"},
	gate.Waited:      {code: 200, header: []byte("waited"), status: "cached"},
	gate.Processing:  {code: 0, header: []byte("processing"), status: "processing", detail: detailProcessing, retry: true},
	gate.Failed:      {code: 500, header: []byte("failed"), detail: detailFailed},
	gate.Unavailable: {code: 503, detail: detailUnavailable, retry: true},
	gate.Foreign:     {code: 503, detail: detailForeign, retry: true},
	gate.Unreadable:  {code: 503, detail: detailUnreadable, retry: true},
	gate.Refused:     {code: 503, detail: detailRefused, retry: true},
	gate.Limited: {
		code: 429, header: []byte("limited"), status: "limited", detail: detailLimited, retry: true,
	},
	gate.Overloaded: {code: 503, detail: detailOverloaded, retry: true},
	gate.Poisoned:   {code: 500, header: []byte("poisoned"), status: "poisoned", detail: detailPoisoned},
	gate.Doubtful:   {code: 500, header: []byte("doubtful"), status: "doubtful", detail: detailDoubtful},
	gate.Mismatched: {code: 422, header: []byte("mismatch"), detail: detailMismatch},
	gate.Missing:    {code: 404, detail: detailMissing},
}

// The names of our headers in fasthttp's spelling, so that it need not normalise them for each answer.
var (
	headerStatus      = []byte("Idempotency-Status")
	headerFingerprint = []byte("Idempotency-Fingerprint")
	headerAttempt     = []byte("Idempotency-Attempt")
	headerMismatch    = []byte("Idempotency-Mismatch")
	headerReplayed    = []byte("Idempotency-Replayed")
	headerAge         = []byte("Age")
	yes               = []byte("true")
)

// respond words the answer of a webhook that reached the gate.
func (t *tenant) respond(ctx *fasthttp.RequestCtx, name fingerprint.Fingerprint, a gate.Answer) {
	o := outcomes[a.Outcome]
	header := &ctx.Response.Header
	ctx.Response.SetStatusCode(o.code)
	if o.code == 0 {
		ctx.Response.SetStatusCode(t.ProcessingStatus)
	}
	header.SetContentType(record.JSON)
	if t.Passthrough {
		for _, kept := range a.Result.Headers { // first, so that our own headers replace them
			header.Add(kept.Name, kept.Value)
		}
	}
	var digits [20]byte
	switch {
	case a.RetryAfter > 0:
		after := (min(a.RetryAfter, maxRetryAfter) + time.Second - 1) / time.Second // rounded up: not too early
		header.SetBytesV(fasthttp.HeaderRetryAfter, strconv.AppendInt(digits[:0], int64(after), 10))
	case o.retry:
		header.Set(fasthttp.HeaderRetryAfter, retryAfter)
	}
	if o.header != nil {
		header.SetCanonical(headerStatus, o.header)
	}
	var onStack [len(fingerprint.Prefix) + fingerprint.HexSize]byte
	named := name.AppendHex(append(onStack[:0], fingerprint.Prefix...))
	header.SetCanonical(headerFingerprint, named)
	if a.Attempt > 0 {
		header.SetCanonical(headerAttempt, strconv.AppendInt(digits[:0], a.Attempt, 10))
	}
	if a.Mismatch {
		header.SetCanonical(headerMismatch, yes)
	}
	if o.status == "cached" {
		header.SetCanonical(headerReplayed, yes)
		header.SetCanonical(headerAge, strconv.AppendInt(digits[:0], int64(a.Age/time.Second), 10))
	}
	switch {
	case o.status == "":
		appendError(ctx, o.detail, named, a.Outcome == gate.Failed)
	case o.code != http.StatusOK:
		appendEnvelope(ctx, o.status, nullJSON, named, o.detail)
	case t.Passthrough:
		passOn(&ctx.Response, &a.Result)
	case a.Result.Status >= http.StatusBadRequest:
		ctx.Response.SetStatusCode(a.Result.Status)
		appendEnvelope(ctx, "rejected", data(&a.Result), named, "")
	default:
		appendEnvelope(ctx, o.status, data(&a.Result), named, "")
	}
}

// passOn makes the result itself the answer, as the logic gave it.
func passOn(response *fasthttp.Response, r *record.Result) {
	response.SetStatusCode(r.Status)
	response.Header.SetContentType(r.ContentType)
	response.AppendBody(r.Body)
}

var nullJSON = []byte("null")

// data returns a result as JSON: the body as it is if its type is JSON, as a JSON string if not, and null if it is
// empty.
func data(r *record.Result) []byte {
	switch {
	case len(r.Body) == 0:
		return nullJSON
	case r.ContentType == record.JSON:
		return r.Body
	}
	quoted, err := json.MarshalWithOption(string(r.Body), json.DisableHTMLEscape())
	if err != nil {
		panic(err) // strings can't fail
	}
	return quoted
}

// appendEnvelope writes the envelope around data, which must be JSON and is copied byte for byte.
func appendEnvelope(ctx *fasthttp.RequestCtx, status string, data, named []byte, detail string) {
	r := &ctx.Response
	r.AppendBodyString(`{"status":"`)
	r.AppendBodyString(status)
	r.AppendBodyString(`","data":`)
	r.AppendBody(data)
	r.AppendBodyString(`,"fingerprint":"`)
	r.AppendBody(named)
	r.AppendBodyString(`"`)
	if detail != "" {
		r.AppendBodyString(`,"detail":"`)
		r.AppendBodyString(detail)
		r.AppendBodyString(`"`)
	}
	r.AppendBodyString(`}`)
}

// appendError writes an error. tellName adds the fingerprint; callers set it if a retry executes the webhook again.
func appendError(ctx *fasthttp.RequestCtx, detail string, named []byte, tellName bool) {
	r := &ctx.Response
	r.AppendBodyString(`{"detail":"`)
	r.AppendBodyString(detail)
	if tellName {
		r.AppendBodyString(`","fingerprint":"`)
		r.AppendBody(named)
	}
	r.AppendBodyString(`"}`)
}

// respondErrors answers 400 and names everything that is wrong with a payload.
func respondErrors(ctx *fasthttp.RequestCtx, errs []FieldError) {
	body, err := json.MarshalWithOption(struct {
		Detail string       `json:"detail"`
		Errors []FieldError `json:"errors"`
	}{detailMalformed, errs}, json.DisableHTMLEscape())
	if err != nil {
		panic(err) // strings can't fail
	}
	respond(ctx, fasthttp.StatusBadRequest, string(body))
}

// allow reports whether the request has one of the methods. If not, it answers 405.
func allow(ctx *fasthttp.RequestCtx, methods ...string) bool {
	for _, m := range methods {
		if string(ctx.Method()) == m {
			return true
		}
	}
	allowed := strings.Join(methods, ", ")
	ctx.Response.Header.Set(fasthttp.HeaderAllow, allowed)
	respondDetail(ctx, fasthttp.StatusMethodNotAllowed, "Method not allowed: use "+allowed)
	return false
}

func respondRetry(ctx *fasthttp.RequestCtx, detail string) {
	ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, retryAfter)
	respondDetail(ctx, fasthttp.StatusServiceUnavailable, detail)
}

// respondDetail answers {"detail":…}. The detail must not need any escapes in JSON.
func respondDetail(ctx *fasthttp.RequestCtx, code int, detail string) {
	respond(ctx, code, `{"detail":"`+detail+`"}`)
}

func respond(ctx *fasthttp.RequestCtx, code int, body string) {
	ctx.Response.SetStatusCode(code)
	ctx.Response.Header.SetContentType(record.JSON)
	ctx.Response.SetBodyString(body)
}
