package handler_test

import (
	"context"
	"testing"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
)

func TestAWebPageOfAnotherOriginIsRefused(t *testing.T) {
	t.Parallel()
	const refused = `{"detail":"A web page of another origin may not call this gateway: its browser says so in ` +
		`Sec-Fetch-Site or Origin"}`
	h := onReal(t)
	r := h.open(options())
	for header, comesIn := range map[string]bool{
		"X-Nothing: of a browser":     true,
		"Sec-Fetch-Site: none":        true,
		"Sec-Fetch-Site: same-origin": true,
		"Sec-Fetch-Site: same-origin\r\nOrigin: https://behind.a.proxy": true,
		"Origin: http://localhost":                                      true,
		"Origin: https://LOCALHOST":                                     true,
		"Sec-Fetch-Site: same-site":                                     false,
		"Sec-Fetch-Site: cross-site":                                    false,
		"sec-fetch-site: cross-site":                                    false,
		"Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost":        false,
		"Sec-Fetch-Site: anything else":                                 false,
		"Origin: http://evil.example":                                   false,
		"Origin: http://localhost:81":                                   false,
		"Origin: http://localhost.evil.example":                         false,
		"Origin: localhost":                                             false,
		"Origin: null":                                                  false,
	} {
		t.Run(header, func(t *testing.T) {
			post := r.exchange(request("POST", "/webhook/cognigy", webhook, "Content-Type: text/plain", header))
			get := r.exchange(request("GET", "/webhook/cognigy/"+name, "", header))
			if comesIn {
				if post.status != 200 {
					t.Errorf("a webhook is answered\n%v", post)
				}
				return
			}
			expect(t, post, 403, refused)
			expect(t, get, 403, refused)
			if healthy := r.exchange(request("GET", "/healthz", "", header)); healthy.status != 200 {
				t.Errorf("its health is answered\n%v", healthy)
			}
		})
	}
	h.expectExecutions(1)
}

// A result that a browser shows must not act there. exchange checks these headers on every answer of every test; this
// test covers the answers that no other test gets.
func TestAResultIsNoWebPage(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openWith(options(), handler.Options{Passthrough: true}, func(*handler.Server) {})
	h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) {
		return logic.Result{Status: 200, ContentType: "text/html", Body: []byte("<script>alert(1)</script>")}, nil
	})
	for _, got := range []response{r.post(webhook), r.exchange(request("GET", "/webhook/cognigy/"+name, ""))} {
		if got.status != 200 || got.header("Content-Type") != "text/html" {
			t.Errorf("answer\n%v", got) // its body says which header is missing
		}
	}
}
