package upstream

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/fingerprint"
)

// post makes the request that has the webhook executed.
//
// It must not be sent twice. net/http sends a POST again whose kept connection was cut, also after the backend has
// worked, if the header Idempotency-Key is set and the body can be had again. So GetBody is nil, and the body is no
// http.NoBody even where it is empty.
func (u *Upstream) post(w logic.Webhook) *http.Request {
	r := u.request(http.MethodPost, u.target, w)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Attempt", strconv.FormatInt(w.Attempt, 10))
	r.Body = io.NopCloser(bytes.NewReader(w.Body))
	r.ContentLength = int64(len(w.Body))
	return r
}

// request makes what all requests for a webhook have in common. What the gateway writes itself comes last and stands.
func (u *Upstream) request(method string, target *url.URL, w logic.Webhook) *http.Request {
	header := http.Header{"User-Agent": {"oncegate"}}
	add(header, w.Headers)
	add(header, u.Headers)
	header.Set("Accept-Encoding", "identity") // a result's readers may not know another
	header.Set(u.KeyHeader, u.key(w))
	return &http.Request{Method: method, URL: target, Header: header}
}

// key names a webhook to the backend: for all attempts the same, for every other webhook another one.
func (u *Upstream) key(w logic.Webhook) string {
	if u.UUID {
		return w.Fingerprint.UUID()
	}
	return w.Fingerprint.Hex()
}

// add puts headers in place of those that have the same names. Two of the headers may have one name.
func add(header http.Header, headers []logic.Header) {
	for _, h := range headers {
		header.Del(h.Name)
	}
	for _, h := range headers {
		header.Add(h.Name, h.Value)
	}
}

// statusURL returns where it is asked what became of the webhook with a key.
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
