package handler_test

import (
	"encoding/base64"
	"testing"

	"github.com/oncegate/oncegate/handler"
)

func TestOnlyWhoShowsAKeyComesIn(t *testing.T) {
	t.Parallel()
	basic := func(pair string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
	}
	h := onReal(t)
	r := h.openWith(options(), handler.Options{APIKeys: []string{"the-new-key", "user:the-old-key"}},
		func(*handler.Server) {})
	const refused = `{"detail":"An API key is missing or wrong"}`
	const challenge = `Www-Authenticate: Bearer realm="oncegate", Basic realm="oncegate"`
	for header, opens := range map[string]bool{
		"X-API-Key: the-new-key":             true,
		"x-api-key: user:the-old-key":        true,
		"Authorization: ApiKey the-new-key":  true,
		"Authorization: Bearer the-new-key":  true,
		"authorization: bearer  the-new-key": true,
		basic("anybody:the-new-key"):         true,
		basic(":the-new-key"):                true,
		basic("user:the-old-key"):            true,
		basic("other:the-old-key"):           false,
		basic("the-new-key"):                 true,
		basic("the-old-key"):                 false,
		"Authorization: Basic %%%":           false,
		"Authorization: the-new-key":         false,
		"Authorization: Digest the-new-key":  false,
		"Authorization: Bearer":              false,
		"Authorization: Bearer the-new-key2": false,
		"Authorization: Bearer the-new-ke":   false,
		"X-API-Key: THE-NEW-KEY":             false,
		"X-API-Key:":                         false,
		"Cookie: X-API-Key=the-new-key":      false,
	} {
		t.Run(header, func(t *testing.T) {
			asked := map[string]response{
				"a webhook":   r.exchange(request("POST", "/webhook/cognigy", webhook, header)),
				"its result":  r.exchange(request("GET", "/webhook/cognigy/"+name, "", header)),
				"what is bad": r.exchange(request("POST", "/webhook/cognigy", "{", header)),
			}
			for what, got := range asked {
				if opens == (got.status == 401) {
					t.Errorf("%s is answered\n%v", what, got)
				}
				if !opens {
					expect(t, got, 401, refused, challenge)
				}
			}
		})
	}
	h.expectExecutions(1)
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := r.exchange(request("GET", path, "")); got.status != 200 {
			t.Errorf("%s is answered\n%v", path, got)
		}
	}
}

func TestWhoIsRefusedAtTheDoorIsNotCounted(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openWith(options(), handler.Options{APIKeys: []string{"key"}}, func(*handler.Server) {})
	r.post(webhook)
	r.exchange(request("POST", "/webhook/cognigy", webhook, "X-API-Key: key"))
	h.expectCounts(map[string]int64{"total_requests": 1, "executed": 1})
}
