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

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/record"
)

const (
	maxContentType = 256
	maxKept        = 2 << 10 // names and values of all headers that are kept with one result

	unknownType = "application/octet-stream"
	// An answer declared as JSON that is none. Everywhere else record.JSON says that a body is valid JSON and can stand in
	// an envelope as it is; this says the same to a client, but not that.
	brokenJSON = record.JSON + "; charset=utf-8"
)

// read reads an answer's body whole, and closes it.
func (u *Upstream) read(ctx context.Context, response *http.Response) ([]byte, error) {
	defer response.Body.Close()
	limit := int64(u.MaxResultBytes)
	if response.ContentLength > limit {
		return nil, u.tooLarge()
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, cutOff(ctx, true)
	case err != nil:
		return nil, unreadable(err)
	case int64(len(body)) > limit:
		return nil, u.tooLarge()
	case cutUnnoticed(response, body):
		return nil, unreadable(io.ErrUnexpectedEOF)
	}
	return body, nil
}

// cutUnnoticed reports whether a body ended with its connection, which is all that said so, in the middle of its JSON.
func cutUnnoticed(response *http.Response, body []byte) bool {
	return response.ContentLength < 0 && len(response.TransferEncoding) == 0 && response.Close &&
		isJSON(response.Header.Get("Content-Type")) && !json.Valid(body)
}

func (u *Upstream) tooLarge() error {
	return &failure{fmt.Errorf("the backend's answer has more than %d bytes, raise MAX_RESULT_BYTES: %w",
		u.MaxResultBytes, handler.ErrOutcomeUnknown), sick}
}

// result makes one that a record can hold, whatever the answer is: the backend has worked, so what can't be kept is
// left out rather than all of it refused.
func (u *Upstream) result(w handler.Webhook, response *http.Response, body []byte) handler.Result {
	r := handler.Result{Status: response.StatusCode, ContentType: u.contentType(response.Header.Get("Content-Type"), body), Body: body}
	if len(r.ContentType) > maxContentType || r.Check() != nil {
		u.leaveOut(w, "Content-Type")
		r.ContentType = unknownType
	}
	size := 0
	for _, name := range u.kept {
		// Two of one name mean the same as one with a comma.
		value := strings.Join(response.Header.Values(name), ", ")
		if value == "" || name == contentEncoding && strings.EqualFold(value, "identity") {
			continue
		}
		with := r
		with.Headers = append(slices.Clip(r.Headers), handler.Header{Name: name, Value: value})
		if size+len(name)+len(value) > maxKept || with.Check() != nil {
			u.leaveOut(w, name)
			continue
		}
		size += len(name) + len(value)
		r = with
	}
	return r
}

func (u *Upstream) leaveOut(w handler.Webhook, name string) {
	u.Log.Warn("a header of the backend's answer is not kept: it is too long, or not text", "header", name, "fingerprint", w.Fingerprint)
}

// contentType says of a body what the backend said, but record.JSON only of what is valid JSON.
func (u *Upstream) contentType(declared string, body []byte) string {
	switch {
	case declared == "":
		return unknownType
	case !isJSON(declared):
		return declared
	case json.Valid(body) && utf8.Valid(body):
		if u.Passthrough {
			return declared
		}
		return record.JSON
	case declared == record.JSON:
		return brokenJSON
	}
	return declared
}

func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == record.JSON || strings.HasSuffix(media, "+json")
}

// contentEncoding is kept whether it was asked for or not: a body that is encoded, although we did not accept any
// encoding, is not to be read without it. It comes first, lest others leave no room for it.
const contentEncoding = "Content-Encoding"

// keepable returns the names of headers that are kept with a result, each once. What is for one caller alone never is:
// duplicates come from others.
func keepable(names []string) []string {
	kept := []string{contentEncoding}
	for _, name := range names {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		if !slices.ContainsFunc([]string{"Set-Cookie", "Set-Cookie2", "Authorization"}, same) && !slices.ContainsFunc(kept, same) {
			kept = append(kept, name)
		}
	}
	return kept
}
