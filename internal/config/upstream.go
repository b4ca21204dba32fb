package config

import (
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

const maxBreakerFailures = 10000

// Upstream is the backend: an HTTP service that runs the logic.
type Upstream struct {
	// URL is http:// or https://, without user info and fragment. If it is empty, the logic is echo.
	URL string `name:"upstream-url" placeholder:"URL" tenant:"" help:"Where webhooks are executed: http:// or https://."`
	// StatusURL is asked for the outcome of an attempt in doubt. The key replaces {key}; if that is missing, the key is
	// appended as the last segment of the path.
	StatusURL string `name:"upstream-status-url" placeholder:"URL" tenant:"" help:"Where it is asked what became of an attempt in doubt; the key replaces {key}, or comes behind the path."`
	// KeyHeader is the name of a header that the gateway does not need otherwise.
	KeyHeader string `name:"upstream-key-header" default:"Idempotency-Key" tenant:"" help:"Request header that carries the key."`
	// KeyFormat is KeyHex or KeyUUID.
	KeyFormat KeyFormat `name:"upstream-key-format" default:"hex" tenant:"" help:"hex: the key is the fingerprint's 64 hex digits; uuid: a UUID made of it."`
	// Headers are lines "Name: value": request headers that the gateway does not write itself.
	Headers Secret `name:"upstream-headers" placeholder:"SECRET" tenant:"" help:"Headers of each request, one \"Name: value\" a line."`
	// ResponseHeaders, separated by commas, are names of response headers that are kept with a result. A header that
	// belongs to one caller, one moment or one connection is refused.
	ResponseHeaders string `name:"upstream-response-headers" default:"Location,Content-Language" tenant:"" help:"Response headers that are kept with a result, separated by commas; a comma alone: none."`
	// BreakerFailures, 0 to 10000, is how many failures in a row open the circuit breaker; 0 switches it off.
	BreakerFailures int `name:"upstream-breaker-failures" default:"20" tenant:"" help:"After so many failures in a row the backend gets no requests for a while (circuit breaker); 0: never."`
	// BreakerPause, above 0 and at most 1h, is how long the breaker stays open.
	BreakerPause time.Duration `name:"upstream-breaker-pause" default:"10s" tenant:"" help:"How long it gets none then."`
	// IdleTimeout, 0 to 10m, is how long an unused connection is kept; 0 keeps none.
	IdleTimeout time.Duration `name:"upstream-idle-timeout" default:"1s" tenant:"" help:"How long an unused connection is kept: less than the backend keeps it; 0: not at all."`

	// OAuthTokenURL, OAuthClientID and OAuthClientSecret are given together or not at all.
	OAuthTokenURL     string `name:"upstream-oauth-token-url" placeholder:"URL" tenant:"" help:"Where an access token is got with client credentials (OAuth 2.0)."`
	OAuthClientID     string `name:"upstream-oauth-client-id" placeholder:"ID" tenant:"" help:"Client id for it."`
	OAuthClientSecret Secret `name:"upstream-oauth-client-secret" placeholder:"SECRET" tenant:"" help:"Client secret for it."`
	// OAuthScopes are separated by spaces or commas.
	OAuthScopes string `name:"upstream-oauth-scopes" placeholder:"SCOPES" tenant:"" help:"Scopes of the token, separated by spaces or commas."`

	// TLSCA is the path of a PEM file, as are TLSCert and TLSKey, which are given together or not at all.
	TLSCA   string `name:"upstream-tls-ca" placeholder:"FILE" tenant:"" help:"PEM file of the authorities that the backend's certificate may come from, in place of the system's."`
	TLSCert string `name:"upstream-tls-cert" placeholder:"FILE" tenant:"" help:"PEM file of the certificate that is shown to the backend."`
	TLSKey  string `name:"upstream-tls-key" placeholder:"FILE" tenant:"" help:"PEM file of that certificate's key."`
}

// StaticHeaders returns the headers that every request carries. It leaves out lines that Validate refuses.
func (u Upstream) StaticHeaders() (headers []record.Header) {
	for line := range strings.Lines(string(u.Headers)) {
		if h, ok := header(line); ok {
			headers = append(headers, h)
		}
	}
	return headers
}

// KeptHeaders returns the names of the response headers that are kept with a result, in the case in which they were
// written.
func (u Upstream) KeptHeaders() []string { return list(u.ResponseHeaders, ",") }

// Scopes returns the scopes of the access token.
func (u Upstream) Scopes() []string {
	return strings.FieldsFunc(u.OAuthScopes, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

func (u Upstream) problems() (p problems) {
	parts := strings.Join(u.partsOfURL(), ", ")
	p.unless(u.URL != "" || parts == "", "%s given without a backend: needs UPSTREAM_URL", parts)
	p.url("UPSTREAM_URL", u.URL)
	p.url("UPSTREAM_STATUS_URL", u.StatusURL)
	p.unless(strings.Count(u.StatusURL, fingerprint.Placeholder) <= 1,
		"UPSTREAM_STATUS_URL holds %s more than once: must be once, or not at all", fingerprint.Placeholder)
	oneOf(&p, "UPSTREAM_KEY_FORMAT", u.KeyFormat, KeyHex, KeyUUID)
	p.names("UPSTREAM_KEY_HEADER", []string{u.KeyHeader}, noKey, "the gateway needs that header itself")
	p.lines(u)
	p.names("UPSTREAM_RESPONSE_HEADERS", u.KeptHeaders(), record.NeverKept,
		"must be none that is for one caller, tells of one moment, belongs to one connection or is written by the "+
			"gateway itself")
	p.unless(0 <= u.BreakerFailures && u.BreakerFailures <= maxBreakerFailures,
		"UPSTREAM_BREAKER_FAILURES is %d: must be 0 (off) to %d", u.BreakerFailures, maxBreakerFailures)
	p.unless(0 < u.BreakerPause && u.BreakerPause <= time.Hour,
		"UPSTREAM_BREAKER_PAUSE is %v: must be above 0 and at most 1h", u.BreakerPause)
	p.unless(0 <= u.IdleTimeout && u.IdleTimeout <= 10*time.Minute,
		"UPSTREAM_IDLE_TIMEOUT is %v: must be 0 (connections are not kept) to 10m", u.IdleTimeout)

	credentials := given(u.credentials()...)
	p.unless(len(credentials) == 0 || len(credentials) == len(u.credentials()), "UPSTREAM_OAUTH_TOKEN_URL, "+
		"UPSTREAM_OAUTH_CLIENT_ID and UPSTREAM_OAUTH_CLIENT_SECRET belong together: only %s given",
		strings.Join(credentials, ", "))
	p.unless(u.OAuthScopes == "" || len(credentials) > 0,
		"UPSTREAM_OAUTH_SCOPES given without UPSTREAM_OAUTH_TOKEN_URL: scopes are those of a token")
	p.url("UPSTREAM_OAUTH_TOKEN_URL", u.OAuthTokenURL)
	p.unless((u.TLSCert == "") == (u.TLSKey == ""), "UPSTREAM_TLS_CERT and UPSTREAM_TLS_KEY belong together: only "+
		"one is given")
	return p
}

// partsOfURL returns the names of the given settings that have no meaning without a backend.
func (u Upstream) partsOfURL() []string {
	return given(append(u.credentials(),
		setting{"UPSTREAM_OAUTH_SCOPES", u.OAuthScopes != ""},
		setting{"UPSTREAM_STATUS_URL", u.StatusURL != ""},
		setting{"UPSTREAM_HEADERS", u.Headers != ""},
		setting{"UPSTREAM_TLS_CA", u.TLSCA != ""},
		setting{"UPSTREAM_TLS_CERT", u.TLSCert != ""},
		setting{"UPSTREAM_TLS_KEY", u.TLSKey != ""},
	)...)
}

func (u Upstream) credentials() []setting {
	return []setting{
		{"UPSTREAM_OAUTH_TOKEN_URL", u.OAuthTokenURL != ""},
		{"UPSTREAM_OAUTH_CLIENT_ID", u.OAuthClientID != ""},
		{"UPSTREAM_OAUTH_CLIENT_SECRET", u.OAuthClientSecret != ""},
	}
}

// lines checks the lines of Headers. It names a bad line only by its number, because the line may hold a secret.
func (p *problems) lines(u Upstream) {
	number := 0
	for line := range strings.Lines(string(u.Headers)) {
		number++
		if strings.TrimSpace(line) == "" {
			continue
		}
		h, ok := header(line)
		p.unless(ok, "UPSTREAM_HEADERS, line %d (not shown, since it may be a secret): "+
			"must be a header such as Name: value, without control characters", number)
		p.unless(!ok || !u.writes(strings.ToLower(h.Name)), "UPSTREAM_HEADERS, line %d (not shown, since it may be a "+
			"secret): must set no header that "+
			"the gateway writes itself, such as Host, Content-Type, UPSTREAM_KEY_HEADER or, with UPSTREAM_OAUTH_…, "+
			"Authorization", number)
	}
}

func (p *problems) url(setting, text string) {
	p.unless(text == "" || isWebURL(text), "%s is not one that we can call (and not shown, since it may hold a secret): "+
		"must be http:// or https:// "+
		"with a host, without a fragment and without user info (use UPSTREAM_HEADERS or UPSTREAM_OAUTH_… in its place)",
		setting)
}

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil &&
		!strings.ContainsAny(text, "# ")
}
