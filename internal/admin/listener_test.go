package admin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/admin"
	"github.com/oncegate/oncegate/internal/config"
)

const token = "0123456789abcdef-s3cret"

// open serves pages on a free port of loopback until the test ends, and returns their URL.
func open(t *testing.T, c config.Admin) (at string) {
	t.Helper()
	c.Listen = "127.0.0.1:0"
	l, err := admin.Open(c, pages(nil), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); l.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return "http://" + l.Address().String()
}

func pages(ready error) admin.Pages {
	return admin.Pages{
		Metrics: text("metrics"), Private: text("private"), Ready: func() error { return ready },
	}
}

func text(t string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, t) })
}

// ask sends a request with headers, such as "Host: a", and returns the answer.
func ask(t *testing.T, method, at string, headers ...string) (status int, body string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	reply, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	all, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(all), reply.Header
}

func TestWhoMayLook(t *testing.T) {
	keyed := open(t, config.Admin{Token: token, Hosts: "gate.example"})
	unkeyed := open(t, config.Admin{})
	bearer := "Authorization: Bearer " + token
	for _, c := range []struct {
		what, method, at string
		headers          []string
		want             int
	}{
		{"metrics are open", "GET", keyed + "/metrics", nil, 200},
		{"liveness is open", "GET", keyed + "/healthz", nil, 200},
		{"readiness is open", "GET", keyed + "/readyz", nil, 200},
		{"the page needs the token: a browser is led to the form", "GET", keyed + "/", nil, 303},
		{"so does all else", "GET", keyed + "/feed", nil, 401},
		{"a bearer may look", "GET", keyed + "/feed", []string{bearer}, 200},
		{"a wrong token", "GET", keyed + "/feed", []string{bearer + "x"}, 401},
		{"a wrong token for the page", "GET", keyed + "/", []string{bearer + "x"}, 401},
		{"an empty token", "GET", keyed + "/feed", []string{"Authorization: Bearer "}, 401},
		{"a cookie of nobody's", "GET", keyed + "/feed", []string{"Cookie: oncegate=99999999999."}, 401},
		{"without a token all who reach loopback may look", "GET", unkeyed + "/feed", nil, 200},
		{"but for strangers that a proxy brings", "GET", unkeyed + "/feed", []string{"X-Forwarded-For: 127.0.0.1"}, 403},
		{"whatever the proxy says", "GET", unkeyed + "/feed", []string{"Forwarded: for=127.0.0.1"}, 403},
		{"a forged header opens nothing", "GET", keyed + "/feed", []string{"X-Forwarded-For: 127.0.0.1"}, 401},
		{"nor does a forged host", "GET", unkeyed + "/feed", []string{"Host: evil.example",
			"X-Forwarded-Host: localhost"}, 421},
		{"another site's name for our address", "GET", unkeyed + "/metrics", []string{"Host: evil.example"}, 421},
		{"with the port too", "GET", unkeyed + "/metrics", []string{"Host: evil.example:8001"}, 421},
		{"an address that is not ours", "GET", unkeyed + "/metrics", []string{"Host: 10.1.2.3"}, 421},
		{"localhost", "GET", unkeyed + "/feed", []string{"Host: localhost:8001"}, 200},
		{"loopback of the other kind", "GET", unkeyed + "/feed", []string{"Host: [::1]:8001"}, 200},
		{"a name of ADMIN_HOSTS", "GET", keyed + "/metrics", []string{"Host: Gate.Example:8001"}, 200},
		{"a page of another site that reads", "GET", unkeyed + "/feed", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"one whose browser tells the origin alone", "GET", unkeyed + "/feed", []string{"Origin: http://evil.example"}, 403},
		{"one of another port of ours", "GET", unkeyed + "/feed", []string{"Sec-Fetch-Site: same-site"}, 403},
		{"one that changes something", "POST", unkeyed + "/forget", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"also in an old browser", "POST", unkeyed + "/forget", []string{"Origin: http://evil.example"}, 403},
		{"our own page", "POST", unkeyed + "/forget", []string{"Sec-Fetch-Site: same-origin"}, 200},
		{"a program", "POST", keyed + "/forget", []string{bearer}, 200},
		{"a person who follows a link", "GET", unkeyed + "/", []string{"Sec-Fetch-Site: cross-site",
			"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200},
		{"a frame of another site", "GET", unkeyed + "/", []string{"Sec-Fetch-Site: cross-site",
			"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403},
	} {
		status, body, header := ask(t, c.method, c.at, c.headers...)
		if status != c.want || status != 200 && body == "private" {
			t.Errorf("%s: %s %s %q: %d %q, want %d", c.what, c.method, c.at, c.headers, status, body, c.want)
		}
		if csp := header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'") {
			t.Errorf("%s: the policy is %q", c.what, csp)
		}
		if strings.Contains(body, token) {
			t.Errorf("%s: the answer has the token", c.what)
		}
	}
}

func TestALoginIsACookieThatScriptsAndOtherSitesDoNotGet(t *testing.T) {
	at := open(t, config.Admin{Token: token})
	post := func(given string) *http.Response {
		client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		reply, err := client.PostForm(at+"/login", url.Values{"token": {given}})
		if err != nil {
			t.Fatal(err)
		}
		_ = reply.Body.Close()
		return reply
	}
	for _, wrong := range []string{"", "x", token + "x", strings.Repeat("x", 1<<20)} {
		if reply := post(wrong); reply.StatusCode != 401 || len(reply.Cookies()) > 0 {
			t.Errorf("the token %.20q: %s, cookies %v", wrong, reply.Status, reply.Cookies())
		}
	}
	reply := post(token)
	if reply.StatusCode != 303 || len(reply.Cookies()) != 1 {
		t.Fatalf("the token: %s, cookies %v", reply.Status, reply.Cookies())
	}
	cookie := reply.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || strings.Contains(cookie.Value, token) {
		t.Errorf("the cookie is %v", cookie)
	}
	ends, proof, _ := strings.Cut(cookie.Value, ".")
	for value, want := range map[string]int{
		cookie.Value: 200, ends: 401, ends + "." + proof[1:]: 401, ends + "0." + proof: 401, "." + proof: 401,
	} {
		if status, _, _ := ask(t, "GET", at+"/", "Cookie: oncegate="+value); status != want && status != 303 {
			t.Errorf("the cookie %q: %d, want %d", value, status, want)
		}
		if status, _, _ := ask(t, "GET", at+"/feed", "Cookie: oncegate="+value); status != want {
			t.Errorf("the cookie %q: %d, want %d", value, status, want)
		}
	}
}

func TestReadinessIsThatOfTheGateway(t *testing.T) {
	l, err := admin.Open(config.Admin{Listen: "127.0.0.1:0"}, pages(errors.New("away")), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go l.Serve(ctx)
	if status, body, _ := ask(t, "GET", "http://"+l.Address().String()+"/readyz"); status != 503 ||
		body != `{"status":"unavailable"}` {
		t.Errorf("%d %s", status, body)
	}
}

func TestAnAddressThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	quiet := slog.New(slog.DiscardHandler)
	if _, err := admin.Open(config.Admin{Listen: taken.Addr().String()}, pages(nil), quiet); err == nil ||
		!strings.Contains(err.Error(), "ADMIN_LISTEN "+taken.Addr().String()) {
		t.Errorf("an address that was given and is taken: %v", err)
	}
	if l, err := admin.Open(config.Admin{Listen: "off"}, pages(nil), quiet); l != nil || err != nil {
		t.Errorf("off: %v, %v", l, err)
	}

	byDefault, err := net.Listen("tcp", config.DefaultAdminListen) // or it is taken already
	if err == nil {
		defer func() { _ = byDefault.Close() }()
	}
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	if l, err := admin.Open(config.Admin{}, pages(nil), log); l != nil || err != nil ||
		!strings.Contains(said.String(), "level=WARN") {
		t.Errorf("the default, which is taken: %v, %v, %s", l, err, said.String())
	}
}
