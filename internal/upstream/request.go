package upstream

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/fingerprint"
)

// post returns the request that makes the backend execute the webhook.
//
// It must not be sent twice. If the header Idempotency-Key is set and the body can be read again, net/http repeats a
// POST whose kept connection was cut, even if the backend has worked by then. So GetBody is nil, and the body is never
// http.NoBody, even if it is empty.
func (u *Upstream) post(w logic.Webhook) *http.Request {
	r := u.request(http.MethodPost, u.target, w)
	r.Header.Set("Content-Type", cmp.Or(w.ContentType, "application/json"))
	if w.ContentEncoding != "" {
		r.Header.Set("Content-Encoding", w.ContentEncoding)
	}
	r.Header.Set("Idempotency-Attempt", strconv.FormatInt(w.Attempt, 10))
	r.Body = io.NopCloser(bytes.NewReader(w.Body))
	r.ContentLength = int64(len(w.Body))
	return r
}

// request returns the part that all requests for a webhook share. The headers that the gateway itself writes are set
// last, so that no other header replaces them.
func (u *Upstream) request(method string, target *url.URL, w logic.Webhook) *http.Request {
	header := http.Header{"User-Agent": {"oncegate"}}
	add(header, w.Headers)
	add(header, u.Headers)
	header.Set("Accept-Encoding", "identity") // callers may not understand any other
	header.Set(u.KeyHeader, u.key(w))
	return &http.Request{Method: method, URL: target, Header: header}
}

// key returns the idempotency key of a webhook: the same for all its attempts, and different for every other webhook.
func (u *Upstream) key(w logic.Webhook) string {
	if u.UUID {
		return w.Fingerprint.UUID()
	}
	return w.Fingerprint.Hex()
}

// add replaces the headers that have the same names. Several of the new headers may share a name.
func add(header http.Header, headers []logic.Header) {
	for _, h := range headers {
		header.Del(h.Name)
	}
	for _, h := range headers {
		header.Add(h.Name, h.Value)
	}
}

// statusURL returns the URL at which to ask what became of the webhook with this key.
func statusURL(template, key string) (*url.URL, error) {
	named := strings.ReplaceAll(template, fingerprint.Placeholder, key)
	target, err := webURL(named)
	if err != nil || named != template {
		return target, err
	}
	if target.Path == "" {
		target.Path = "/" // JoinPath would make a relative one
	}
	return target.JoinPath(key), nil
}
