package config_test

import (
	"slices"
	"testing"
)

func TestRulesOfTheBackend(t *testing.T) {
	for _, rule := range []rule{
		{
			"the backend is called over HTTP",
			each("UPSTREAM_URL", noURL...),
			"UPSTREAM_URL is not one that we can call",
			each("UPSTREAM_URL", "http://h", "https://h:1/a?b=c", "HTTP://[::1]:80/"),
		},
		{
			"so is its status",
			eachWith(backend, "UPSTREAM_STATUS_URL", noURL...),
			"UPSTREAM_STATUS_URL is not one that we can call",
			eachWith(backend, "UPSTREAM_STATUS_URL", "http://h", "https://h/{key}/state", "https://h/?of={key}"),
		},
		{
			"and its token",
			eachWith(backend, "UPSTREAM_OAUTH_TOKEN_URL", noURL...),
			"UPSTREAM_OAUTH_TOKEN_URL is not one that we can call",
			nil,
		},
		{
			"a status is asked for by one key",
			eachWith(backend, "UPSTREAM_STATUS_URL", "http://h/{key}/{key}", "http://h/{key}?{key}"),
			"UPSTREAM_STATUS_URL holds {key} more than once",
			nil,
		},
		{
			"the key has a header of its own",
			each("UPSTREAM_KEY_HEADER", append([]string{"authorization", "Idempotency-Attempt"}, framing...)...),
			"UPSTREAM_KEY_HEADER names ",
			each("UPSTREAM_KEY_HEADER", "X-Key", "idempotency-key"),
		},
		{
			"the key's header has a name",
			each("UPSTREAM_KEY_HEADER", "X Key", "X-Key:", ",", "X-A,X-B", " "),
			"UPSTREAM_KEY_HEADER holds something that is no header's name",
			nil,
		},
		{
			"the key has a form that we know",
			each("UPSTREAM_KEY_FORMAT", "UUID", "base64", "hex "),
			"UPSTREAM_KEY_FORMAT is ",
			each("UPSTREAM_KEY_FORMAT", "hex", "uuid"),
		},
		{
			"headers for the backend are lines with a name and a value",
			eachWith(backend, "UPSTREAM_HEADERS", "X-A: 1\nX-B", "X-A: 1\n: 2", "X-A: 1\nX B: 2", "X-A: 1\nX-B : 2",
				"\nX-B: a\tb", "\nX-B: a\rb", "X-A: 1\nX-%: 2"),
			"UPSTREAM_HEADERS, line 2 (not shown, since it may be a secret): must be a header such as Name: value",
			eachWith(backend, "UPSTREAM_HEADERS", "X-A: 1\n\nX-B: 2\n", "X-A:"),
		},
		{
			"no header for the backend is one that the gateway writes itself",
			slices.Concat(eachWith(backend, "UPSTREAM_HEADERS", "Authorization: x", "idempotency-key: 1",
				"Idempotency-Attempt: 1"),
				eachWith(env{"UPSTREAM_URL": "http://h"}, "UPSTREAM_HEADERS", lines(framing)...)),
			"UPSTREAM_HEADERS, line 1 (not shown, since it may be a secret): must set no header that the gateway writes itself",
			[]env{{"UPSTREAM_URL": "http://h", "UPSTREAM_HEADERS": "Authorization: Bearer x"}},
		},
		{
			"no header is kept that is one caller's, one moment's or one connection's",
			each("UPSTREAM_RESPONSE_HEADERS", append([]string{
				"Set-Cookie", "set-cookie2", "Authorization", "Date", "Retry-After", "Age", "Idempotency-Status",
				"ETag,idempotency-key",
			}, framing...)...),
			"UPSTREAM_RESPONSE_HEADERS names ",
			each("UPSTREAM_RESPONSE_HEADERS", "ETag, Link", ","),
		},
		{
			"the breaker opens after up to 10000 failures",
			each("UPSTREAM_BREAKER_FAILURES", "-1", "10001"),
			"UPSTREAM_BREAKER_FAILURES is ",
			each("UPSTREAM_BREAKER_FAILURES", "0", "1", "10000"),
		},
		{
			"the breaker stays open up to 1h",
			each("UPSTREAM_BREAKER_PAUSE", "0s", "-1s", "1h1ms"),
			"UPSTREAM_BREAKER_PAUSE is ",
			each("UPSTREAM_BREAKER_PAUSE", "1ms", "1h"),
		},
		{
			"an unused connection is kept for up to 10m",
			each("UPSTREAM_IDLE_TIMEOUT", "-1s", "10m1s"),
			"UPSTREAM_IDLE_TIMEOUT is ",
			each("UPSTREAM_IDLE_TIMEOUT", "0", "4s", "10m"),
		},
		{
			"parts of a backend need the backend",
			[]env{
				{"UPSTREAM_STATUS_URL": "http://h"}, {"UPSTREAM_HEADERS": "X-A: 1"}, {"UPSTREAM_TLS_CA": "c"},
				{"UPSTREAM_TLS_CERT": "c", "UPSTREAM_TLS_KEY": "k"},
				{"UPSTREAM_OAUTH_TOKEN_URL": "http://h", "UPSTREAM_OAUTH_CLIENT_ID": "i", "UPSTREAM_OAUTH_CLIENT_SECRET": "s"},
				{"UPSTREAM_OAUTH_SCOPES": "a"},
			},
			" given without a backend: needs UPSTREAM_URL",
			[]env{{"UPSTREAM_KEY_HEADER": "X-Key", "UPSTREAM_RESPONSE_HEADERS": "ETag", "UPSTREAM_BREAKER_FAILURES": "0",
				"UPSTREAM_BREAKER_PAUSE": "1s"}, backend},
		},
		{
			"credentials are whole",
			slices.Concat(
				eachWith(env{"UPSTREAM_URL": "http://h"}, "UPSTREAM_OAUTH_TOKEN_URL", "http://h"),
				eachWith(env{"UPSTREAM_URL": "http://h"}, "UPSTREAM_OAUTH_CLIENT_SECRET", "s"),
				eachWith(backend, "UPSTREAM_OAUTH_TOKEN_URL", ""), eachWith(backend, "UPSTREAM_OAUTH_CLIENT_ID", ""),
				eachWith(backend, "UPSTREAM_OAUTH_CLIENT_SECRET", "")),
			"UPSTREAM_OAUTH_TOKEN_URL, UPSTREAM_OAUTH_CLIENT_ID and UPSTREAM_OAUTH_CLIENT_SECRET belong together: only ",
			eachWith(backend, "UPSTREAM_OAUTH_SCOPES", "", "a b"),
		},
		{
			"scopes are those of a token",
			[]env{{"UPSTREAM_URL": "http://h", "UPSTREAM_OAUTH_SCOPES": "a"}},
			"UPSTREAM_OAUTH_SCOPES given without UPSTREAM_OAUTH_TOKEN_URL",
			nil,
		},
		{
			"a certificate has its key",
			slices.Concat(eachWith(backend, "UPSTREAM_TLS_CERT", ""), eachWith(backend, "UPSTREAM_TLS_KEY", "")),
			"UPSTREAM_TLS_CERT and UPSTREAM_TLS_KEY belong together",
			[]env{{"UPSTREAM_URL": "http://h", "UPSTREAM_TLS_CA": "c"}},
		},
	} {
		t.Run(rule.name, rule.holds)
	}
}

// noURL holds texts that are not a URL of a backend.
var noURL = []string{
	"h", "h:80", "/path", "ftp://h", "redis://h", "http:", "http://", "http://:80", "https:///path", "http:h",
	"http://u@h", "http://u:p@h",
	"http://h/#", "http://h/#f", "http://h /", "http://{key}/", "http://h:port", "http://h/\n",
}

// lines returns a header line for each name.
func lines(names []string) (all []string) {
	for _, name := range names {
		all = append(all, name+": x")
	}
	return all
}
