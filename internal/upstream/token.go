package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"
)

const (
	fetchTimeout = 10 * time.Second
	// A token goes before its end: it must still be good when the backend looks at it.
	longestMargin = 30 * time.Second
)

// token is an access token as it is sent.
type token struct {
	authorization string
	fresh         time.Time // until then it is used; zero: until the backend refuses it
}

func (t *token) isFresh() bool { return t != nil && (t.fresh.IsZero() || time.Now().Before(t.fresh)) }

// tokens holds the current token and fetches the next, one at a time for all who need it.
type tokens struct {
	config  *clientcredentials.Config
	current atomic.Pointer[token]
	fetches singleflight.Group
	life    context.Context // carries the client that fetches; ends with close
	close   context.CancelFunc
}

func newTokens(c *clientcredentials.Config, transport http.RoundTripper) *tokens {
	client := &http.Client{
		Transport: transport,
		// A redirect would have the secret sent to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t := &tokens{config: c}
	t.life, t.close = context.WithCancel(context.WithValue(context.Background(), oauth2.HTTPClient, client))
	return t
}

// get returns the current token at once, or waits for the next until ctx ends. Fetching goes on without ctx: others
// wait for it too.
func (t *tokens) get(ctx context.Context) (*token, error) {
	if current := t.current.Load(); current.isFresh() {
		return current, nil
	}
	select {
	case fetched := <-t.fetches.DoChan("", t.fetch):
		if fetched.Err != nil {
			return nil, fetched.Err
		}
		return fetched.Val.(*token), nil //nolint:errcheck // fetch returns no other type
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for it: %w", context.Cause(ctx))
	}
}

// drop forgets a token that was refused, unless that has been done and another one stands there.
func (t *tokens) drop(refused *token) { t.current.CompareAndSwap(refused, nil) }

func (t *tokens) fetch() (any, error) {
	if current := t.current.Load(); current.isFresh() {
		return current, nil // it came between the caller's look and this fetch
	}
	ctx, cancel := context.WithTimeout(t.life, fetchTimeout)
	defer cancel()
	start := time.Now()
	fetched, err := t.config.Token(ctx)
	if err != nil {
		return nil, explainFetch(err)
	}
	next := &token{authorization: fetched.Type() + " " + fetched.AccessToken}
	if ends := fetched.Expiry; !ends.IsZero() {
		next.fresh = ends.Add(-min(longestMargin, ends.Sub(start)/4))
	}
	t.current.Store(next)
	return next, nil
}

// errorCodes are those of RFC 6749. Another text is not told: who knows what it quotes.
var errorCodes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
	"access_denied", "server_error", "temporarily_unavailable",
}

// explainFetch words an error of oauth2 anew, which may hold the endpoint's URL and its answer's body.
func explainFetch(err error) error {
	var refused *oauth2.RetrieveError
	var call *url.Error
	switch {
	case errors.As(err, &refused) && slices.Contains(errorCodes, refused.ErrorCode):
		return fmt.Errorf("the token's endpoint answered %d, %s", refused.Response.StatusCode, refused.ErrorCode)
	case errors.As(err, &refused):
		return fmt.Errorf("the token's endpoint answered %d", refused.Response.StatusCode)
	case errors.As(err, &call) && call.Timeout():
		return errors.New("the token's endpoint did not answer in time")
	case errors.As(err, &call):
		return errors.New("the token's endpoint can't be reached, or does not speak HTTP")
	}
	return errors.New("the answer of the token's endpoint is none of OAuth 2.0 with an access_token")
}
