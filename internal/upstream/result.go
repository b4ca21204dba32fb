package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-json"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/span"
)

const (
	maxContentType = 256
	maxKept        = 2 << 10 // bytes of the names and values of all headers that are kept with one result

	unknownType = "application/octet-stream"
	// brokenJSON is the content type of a body that is declared as JSON but is not valid. Everywhere else, record.JSON
	// promises that a body is valid JSON and fits into an envelope unchanged. This one tells a client the same type, but
	// does not promise that.
	brokenJSON = record.JSON + "; charset=utf-8"
)

// read reads the whole body of an answer, closes it, and undoes its encodings.
func (u *Upstream) read(ctx context.Context, response *http.Response) ([]byte, error) {
	defer response.Body.Close()
	limit := int64(u.MaxResultBytes)
	if response.ContentLength > limit {
		return nil, unusable(response, u.tooLarge())
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, cutOff(ctx, true)
	case err != nil:
		return nil, unreadable(err)
	case int64(len(raw)) > limit:
		return nil, unusable(response, u.tooLarge())
	}
	body, err := u.decode(response.Header, raw)
	switch {
	case err != nil:
		return nil, unusable(response, err)
	case cutUnnoticed(response, body):
		return nil, unreadable(io.ErrUnexpectedEOF)
	}
	return body, nil
}

// unusable is the failure of an answer that came whole but cannot be a result. A 4xx says that nothing was done,
// whatever its body is; for any other status the outcome is unknown.
func unusable(response *http.Response, why error) error {
	if response.StatusCode/100 == 4 {
		return &failure{fmt.Errorf("the backend refused with %d, and its answer is of no use: %w", response.StatusCode, why),
			well}
	}
	return &failure{fmt.Errorf("the backend's answer is of no use: %w: %w", why, logic.ErrOutcomeUnknown), sick}
}

// cutUnnoticed reports whether a body of JSON is cut short and only the end of the connection marked its end: then
// net/http cannot notice the cut.
func cutUnnoticed(response *http.Response, body []byte) bool {
	declared := response.Header.Get("Content-Type")
	if response.ContentLength >= 0 || len(response.TransferEncoding) > 0 || !response.Close || !isJSON(declared) {
		return false
	}
	_, _, err := meaning(declared, body)
	return err != nil
}

func (u *Upstream) tooLarge() error {
	return fmt.Errorf("it has more than %d bytes, raise MAX_RESULT_BYTES", u.MaxResultBytes)
}

// result makes a result that a record can hold from a body without encodings. The backend has worked, so a header that
// cannot be kept is left out instead of failing the execution.
func (u *Upstream) result(w logic.Webhook, response *http.Response, body []byte) (logic.Result, error) {
	r := logic.Result{Status: response.StatusCode, Body: body}
	declared := response.Header.Get("Content-Type")
	if u.Passthrough {
		r.ContentType = passedType(declared, body)
	} else {
		var err error
		if r.ContentType, r.Body, err = meaning(declared, body); err == nil && len(r.Body) > u.MaxResultBytes {
			err = u.tooLarge()
		}
		if err != nil {
			return logic.Result{}, unusable(response, err)
		}
	}
	if len(r.ContentType) > maxContentType || r.Check() != nil {
		u.leaveOut(w, response, "Content-Type")
		r.ContentType = unknownType
	}
	size := 0
	for _, name := range u.kept {
		// Several headers of one name mean the same as one with a comma-separated value.
		value := strings.Join(response.Header.Values(name), ", ")
		if value == "" || ofConnection(response.Header, name) {
			continue
		}
		with := r
		with.Headers = append(slices.Clip(r.Headers), logic.Header{Name: name, Value: value})
		if size+len(name)+len(value) > maxKept || with.Check() != nil {
			u.leaveOut(w, response, name)
			continue
		}
		size += len(name) + len(value)
		r = with
	}
	return r, nil
}

// ofConnection reports whether the Connection header of an answer names this header. Such a header belongs to that
// connection alone (RFC 9110, section 7.6.1). If Connection also says close, net/http hides the rest of it.
func ofConnection(header http.Header, name string) bool {
	for _, value := range header.Values("Connection") {
		for option := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(option), name) {
				return true
			}
		}
	}
	return false
}

func (u *Upstream) leaveOut(w logic.Webhook, response *http.Response, name string) {
	log := u.Log.With("fingerprint", w.Fingerprint, "attempt", w.Attempt)
	if trace := span.TraceOf(response.Request.Context()); trace != "" {
		log = log.With("trace_id", trace)
	}
	log.Warn("a header of the backend's answer is not kept: it is too long, or not text", "header", name)
}

// passedType returns the content type of a body that is passed through: the backend's own, but record.JSON only if the
// body is valid JSON.
func passedType(declared string, body []byte) string {
	switch {
	case declared == "":
		return unknownType
	case declared == record.JSON && !(json.Valid(body) && utf8.Valid(body)):
		return brokenJSON
	}
	return declared
}

// neverKept are headers that no result has. The first three are meant for one caller alone, and duplicates come from
// other callers. The last one is untrue once the body is decoded.
var neverKept = []string{"Set-Cookie", "Set-Cookie2", "Authorization", "Content-Encoding"}

// keepable returns the names of the headers that are kept with a result, without repetitions.
func keepable(names []string) (kept []string) {
	for _, name := range names {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		if !slices.ContainsFunc(neverKept, same) && !slices.ContainsFunc(kept, same) {
			kept = append(kept, name)
		}
	}
	return kept
}
