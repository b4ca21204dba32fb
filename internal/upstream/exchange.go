package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/span"
)

// send sends a request and returns the answer with its body unread. If the backend no longer accepts the access token
// (401, so nothing was done), it sends the request once more with a new one. No other request is ever sent twice.
func (u *Upstream) send(ctx context.Context, request func() *http.Request) (*http.Response, error) {
	if u.tokens == nil {
		return u.exchange(ctx, request)
	}
	for again := false; ; again = true {
		token, err := u.tokens.get(ctx)
		if err != nil {
			return nil, &failure{fmt.Errorf("nothing was sent, no access token: %w: %w", err, logic.ErrRefused),
				unrelated}
		}
		response, err := u.exchange(ctx, func() *http.Request {
			r := request()
			r.Header.Set("Authorization", token.authorization)
			return r
		})
		if err != nil || response.StatusCode != http.StatusUnauthorized || again {
			return response, err
		}
		drain(response)
		u.tokens.drop(token)
	}
}

// maxStale bounds how many kept connections in a row may turn out to be closed before a request is given up.
const maxStale = 8

// errStale says that a kept connection was closed before any byte of the request was written to it.
var errStale = errors.New("a kept connection was closed")

// exchange sends a request once. It takes another connection only if certainly no byte was written to the kept one.
func (u *Upstream) exchange(ctx context.Context, request func() *http.Request) (response *http.Response, err error) {
	for range maxStale {
		response, err = u.try(ctx, request())
		if !errors.Is(err, errStale) {
			break
		}
	}
	return response, err
}

// try makes one attempt over one connection. It uses the transport directly: an http.Client would follow redirects, and
// would name the URL in its errors.
func (u *Upstream) try(ctx context.Context, r *http.Request) (*http.Response, error) {
	var valid atomic.Bool
	var used atomic.Pointer[connection]
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { valid.Store(true) },
		GotConn: func(got httptrace.GotConnInfo) {
			c, _ := got.Conn.(*connection) // the transport dials no other type
			c.begin(got.Reused)
			used.Store(c)
		},
	}
	for name, value := range span.Headers(ctx) { // they replace the caller's own
		if r.Header.Del(name); value != "" {
			r.Header.Set(name, value)
		}
	}
	began := time.Now()
	response, err := u.transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(ctx, trace)))
	u.meters.count(began, response)
	if err == nil {
		return response, nil
	}
	c := used.Load()
	untouched, stale := true, false
	if c != nil {
		untouched, stale = c.untouched()
	}
	switch {
	case ctx.Err() != nil:
		return nil, cutOff(ctx, !untouched)
	case !valid.Load(): // for example a malformed header of the caller: not the backend's fault
		return nil, &failure{fmt.Errorf("the request can't be sent: %w", err), unrelated}
	case c == nil:
		return nil, &failure{fmt.Errorf("no connection to the backend, nothing was sent: %w: %w", err, logic.ErrRefused),
			sick}
	case stale:
		return nil, &failure{fmt.Errorf("%w, nothing was sent: %w", errStale, logic.ErrRefused), sick}
	case untouched:
		return nil, &failure{fmt.Errorf("the connection to the backend ended, nothing was sent: %w", logic.ErrRefused), sick}
	default:
		return nil, unreadable(err)
	}
}

// unreadable is the failure of an exchange that broke off after it had begun. Errors of net/http may quote the answer,
// so it uses only the texts that quote nothing.
func unreadable(err error) error {
	what := "it is not valid HTTP"
	var network *net.OpError
	switch {
	case errors.As(err, &network):
		what = network.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), err.Error() == "http: server closed idle connection":
		what = "the connection was closed before its end"
	}
	return &failure{fmt.Errorf("the backend's answer can't be read: %s: %w", what, logic.ErrOutcomeUnknown), sick}
}

// maxDrained bounds how much of an unwanted body is read to keep its connection: reading that much is cheaper than
// dialling.
const maxDrained = 4 << 10

// drain closes an answer whose body is hardly needed or not at all. If the body's length is known and short, it first
// reads the body, so that the connection is kept, and returns it. Otherwise the connection is closed too.
func drain(response *http.Response) (body []byte) {
	defer response.Body.Close()
	if response.ContentLength > 0 && response.ContentLength <= maxDrained {
		body, _ = io.ReadAll(response.Body)
	}
	return body
}
