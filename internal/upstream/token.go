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
	// A token is replaced before it expires: it must still be valid when the backend checks it.
	longestMargin = 30 * time.Second
)

// token is an access token in the form in which it is sent.
type token struct {
	authorization string
	fresh         time.Time // it is used until then; zero: until the backend refuses it
}

func (t *token) isFresh() bool { return t != nil && (t.fresh.IsZero() || time.Now().Before(t.fresh)) }

// tokens holds the current token. It fetches the next one once for all executions that need it.
type tokens struct {
	config  *clientcredentials.Config
	current atomic.Pointer[token]
	fetches singleflight.Group
	life    context.Context // carries the HTTP client of fetches; close ends it
	close   context.CancelFunc
}

func newTokens(c *clientcredentials.Config, transport http.RoundTripper) *tokens {
	client := &http.Client{
		Transport: transport,
		// A redirect would send the client secret to another server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t := &tokens{config: c}
	t.life, t.close = context.WithCancel(context.WithValue(context.Background(), oauth2.HTTPClient, client))
	return t
}

// get returns the current token, or waits for the next one until ctx ends. The fetch goes on after ctx, because other
// executions wait for it too.
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

// drop discards a token that the backend refused, unless it was already replaced.
func (t *tokens) drop(refused *token) { t.current.CompareAndSwap(refused, nil) }

func (t *tokens) fetch() (any, error) {
	if current := t.current.Load(); current.isFresh() {
		return current, nil // another fetch has just ended
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

// errorCodes are those of RFC 6749. Any other text of the endpoint is not logged: it may quote a secret.
var errorCodes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
	"access_denied", "server_error", "temporarily_unavailable",
}

// explainFetch replaces an error of oauth2, whose text may contain the endpoint's URL and the body of its answer.
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
	return errors.New("the answer of the token's endpoint is not one of OAuth 2.0 with an access_token")
}
