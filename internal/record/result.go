package record

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// JSON is the content type of nearly every result: "-" stands for it in a record.
const JSON = "application/json"

// Result is the answer of the logic, which every duplicate gets.
type Result struct {
	Status      int    // HTTP status: 2xx, or 4xx for a final refusal
	ContentType string // any text without control characters
	Headers     []Header
	Body        []byte

	// Reconciled says that the backend was only asked, and that an earlier attempt had brought the result. It is counted
	// and not stored.
	Reconciled bool
}

// Header is a header that is kept with a result, or handed on with a webhook.
type Header struct{ Name, Value string }

// escaper removes spaces from a text, because spaces separate fields. Everything else stays readable.
var escaper = strings.NewReplacer("%", "%25", " ", "%20")

// Kind returns the content type and the headers in the form of a done record.
func (r Result) Kind() string {
	if r.ContentType == JSON && len(r.Headers) == 0 { // nearly every result
		return none
	}
	kind := []string{contentType(r.ContentType)}
	for _, h := range r.Headers {
		kind = append(kind, h.Name+":"+escaper.Replace(h.Value))
	}
	return strings.Join(kind, " ")
}

func contentType(text string) string {
	switch text {
	case JSON:
		return none
	case none:
		return "%2D"
	}
	return escaper.Replace(text)
}

// ParseKind sets the content type and the headers from a text that Kind returned. For any other text it returns
// ErrForeign.
func (r *Result) ParseKind(kind []byte) error {
	h := header{rest: kind}
	r.ContentType, r.Headers = h.contentType(), h.headers()
	if h.err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, h.err)
	}
	return nil
}

// maxKind bounds the content type and the headers, so that the line has room for the fields before them.
const maxKind = maxHeader - 512

// isFinal reports whether a result may have this status.
func isFinal(status int) bool {
	return 200 <= status && status <= 299 || 400 <= status && status <= 499
}

// Frames reports whether a header, in lower case, belongs to the form of one message or to one connection.
// Accept-Encoding and Content-Encoding do, because a result is stored without its encodings.
func Frames(lower string) bool {
	switch lower {
	case "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
		"keep-alive", "te", "trailer", "transfer-encoding", "upgrade":
		return true
	}
	return strings.HasPrefix(lower, "proxy-")
}

// NeverKept reports whether a header, in lower case, must not be kept with a result: it is meant for one caller alone,
// is true of one moment only, or is written by the gateway itself.
func NeverKept(lower string) bool {
	switch lower {
	case "age", "authorization", "date", "preference-applied", "retry-after", "set-cookie", "set-cookie2":
		return true
	}
	return Frames(lower) || strings.HasPrefix(lower, "idempotency-")
}

// Check returns an error if a record cannot hold the result.
func (r Result) Check() error {
	if err := r.checkFields(); err != nil {
		return err
	}
	if kind := r.Kind(); len(kind) > maxKind {
		return fmt.Errorf("a result's content type and headers have at most %d bytes, but these %d", maxKind, len(kind))
	}
	return nil
}

// checkFields returns an error if no result can have this status, content type or one of these headers.
func (r Result) checkFields() error {
	odd := func(text string) bool {
		return strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text)
	}
	switch {
	case !isFinal(r.Status):
		return fmt.Errorf("a result has a status of 2xx, or 4xx for a final refusal, but this has %d", r.Status)
	case r.ContentType == "" || odd(r.ContentType):
		return errors.New("a result has a content type without control characters")
	}
	for _, h := range r.Headers {
		switch {
		case !httpguts.ValidHeaderFieldName(h.Name) || strings.Contains(h.Name, "%") || odd(h.Value):
			return errors.New("a result's header has a name (an HTTP token without %), and no control characters")
		case NeverKept(strings.ToLower(h.Name)):
			return fmt.Errorf("the header %s of a result can't be kept for other callers", h.Name)
		}
	}
	return nil
}
