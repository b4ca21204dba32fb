// Package upstream is the logic that forwards a webhook to a backend over HTTP and turns the answer into a result. It
// runs behind the gate, in place of Echo.
//
// A webhook passes the pause that the backend may have asked for (pause.go) and the breaker (breaker.go). If an earlier
// attempt is in doubt, the backend is first asked what became of it (doubt.go). Then the webhook is sent (request.go,
// exchange.go), with an access token if one is configured (token.go), over one pool of connections (connection.go). The
// answer is decoded (encoding.go) and its meaning read (meaning.go). It becomes a result (result.go) or a failure
// (failure.go).
package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/oncegate/oncegate/handler/logic"
)

// Options say where the backend is and how to talk to it.
type Options struct {
	URL       string // http:// or https://
	StatusURL string // where to ask what became of an attempt in doubt; "": nowhere
	KeyHeader string // name of the header with the key; "": Idempotency-Key
	UUID      bool   // the key is a UUID derived from the fingerprint, instead of its 64 hex digits

	Headers []logic.Header // sent with every request to the backend, but not to the token endpoint
	Keep    []string       // names of the response headers that are kept with a result

	Passthrough    bool // a result that is JSON keeps the backend's own content type
	MaxResultBytes int  // above 0

	BreakerFailures int           // failures in a row that open the breaker; 0: there is no breaker
	BreakerPause    time.Duration // how long it stays open; a Retry-After is obeyed for at most six times that

	IdleTimeout time.Duration // how long an unused connection is kept; 0: not at all

	OAuth *clientcredentials.Config // nil: no token
	TLS   *tls.Config               // for the backend and the token endpoint; nil: Go's defaults

	Log *slog.Logger // nil: none
}

// Upstream is a logic.Logic, Admitter, Asker and Gauger. It is safe for use by any number of goroutines.
type Upstream struct {
	Options
	target    *url.URL
	kept      []string
	transport *http.Transport
	tokens    *tokens  // nil without OAuth
	breaker   *breaker // nil without a breaker
	pause     *pause
	meters    meters

	setGauge func(field string, value int64) // set before the first Execute; nil: gauges are not written
}

// New checks the options. It sends nothing.
func New(o Options) (*Upstream, error) {
	target, err := webURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("the backend's URL %w", err)
	}
	if o.StatusURL != "" {
		if _, err := statusURL(o.StatusURL, "0"); err != nil {
			return nil, fmt.Errorf("the backend's status URL %w", err)
		}
	}
	switch {
	case o.MaxResultBytes <= 0:
		return nil, fmt.Errorf("results of at most %d bytes: must be above 0", o.MaxResultBytes)
	case o.BreakerFailures < 0:
		return nil, fmt.Errorf("a breaker after %d failures: must be 0 or more", o.BreakerFailures)
	case o.BreakerFailures > 0 && o.BreakerPause <= 0:
		return nil, fmt.Errorf("a breaker that pauses for %v: must be above 0", o.BreakerPause)
	case o.IdleTimeout < 0:
		return nil, fmt.Errorf("unused connections kept for %v: must be 0 or more", o.IdleTimeout)
	}
	o.KeyHeader = cmp.Or(o.KeyHeader, "Idempotency-Key")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	u := &Upstream{Options: o, target: target, kept: keepable(o.Keep), transport: newTransport(o.TLS, o.IdleTimeout)}
	u.pause = &pause{most: maxPauses * o.BreakerPause, began: time.Now(), log: o.Log, onHold: u.until("pause_until")}
	if o.OAuth != nil {
		u.tokens = newTokens(o.OAuth, u.transport)
	}
	if o.BreakerFailures > 0 {
		u.breaker = newBreaker(o.BreakerFailures, o.BreakerPause, o.Log, u.until("breaker_open_until"))
	}
	return u, nil
}

// webURL parses an http or https URL. Its error does not quote the text, which may hold a secret.
func webURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return nil, errors.New("is not one that we can call: must be http:// or https:// with a host, without user info")
	}
	return u, nil
}

// Execute forwards w, unless it finds out that an earlier attempt has done it. Its errors wrap
//
//   - logic.ErrOutcomeUnknown if the backend may have worked,
//   - logic.ErrRefused if nothing was done and a later try may succeed,
//   - logic.ErrUnasked, together with logic.ErrOutcomeUnknown, if the backend was asked what became of an attempt in
//     doubt and gave no clear answer,
//   - the cause of ctx if it ended.
func (u *Upstream) Execute(ctx context.Context, w logic.Webhook) (logic.Result, error) {
	return u.guard(func() (logic.Result, error) {
		if w.InDoubt && u.StatusURL != "" {
			result, known, err := u.ask(ctx, w, 0)
			switch {
			case err != nil:
				return result, unasked(err)
			case known:
				result.Reconciled = true
				return result, nil
			}
		}
		return u.forward(ctx, w)
	})
}

func (u *Upstream) guard(execute func() (logic.Result, error)) (logic.Result, error) {
	if left := u.pause.left(); left > 0 {
		return logic.Result{}, leftAlone("the backend asked for a pause", left)
	}
	if u.breaker == nil {
		return execute()
	}
	return u.breaker.guard(execute)
}

// forward sends w and returns the result if the answer is final. If the answer says that the backend is, or may be, at
// work on this key, forward waits for the outcome of that work.
func (u *Upstream) forward(ctx context.Context, w logic.Webhook) (logic.Result, error) {
	response, err := u.send(ctx, func() *http.Request { return u.post(w) })
	if err != nil {
		return logic.Result{}, err
	}
	if !final(response.StatusCode) {
		body, err := u.decode(response.Header, drain(response))
		if err == nil && u.atWork(response, body) {
			return u.await(ctx, w, response)
		}
		return logic.Result{}, u.notFinal(response)
	}
	body, err := u.read(ctx, response)
	switch {
	case err != nil:
		return logic.Result{}, err
	case u.atWork(response, body):
		return u.await(ctx, w, response)
	case response.StatusCode == http.StatusConflict && w.InDoubt:
		return u.doubtRefusal(ctx, w, response, body)
	}
	return u.result(w, response, body)
}

// Admit reports whether an execution may be tried. It may not while the breaker is open, while another execution probes
// the backend, or during a pause that the backend asked for. wait is how long that lasts, 0 if it is not known.
func (u *Upstream) Admit() (wait time.Duration, ok bool) {
	if u.breaker != nil {
		wait, ok = u.breaker.admits()
	} else {
		ok = true
	}
	if left := u.pause.left(); left > 0 {
		return max(left, wait), false
	}
	return wait, ok
}

// Asks reports whether the backend is asked what became of an attempt in doubt before anything is sent again.
func (u *Upstream) Asks() bool { return u.StatusURL != "" }

// Gauges makes two gauges (Unix seconds) known to set. breaker_open_until is written when the breaker opens, also after
// a probe that failed; pause_until when the backend asks for a pause.
func (u *Upstream) Gauges(set func(field string, value int64)) { u.setGauge = set }

// until returns a function that writes a gauge of this name.
func (u *Upstream) until(field string) func(time.Time) {
	return func(t time.Time) {
		if u.setGauge != nil {
			u.setGauge(field, t.Unix())
		}
	}
}

// Close ends idle connections, and a fetch of a token that is under way.
func (u *Upstream) Close() {
	if u.tokens != nil {
		u.tokens.close()
	}
	u.transport.CloseIdleConnections()
}
