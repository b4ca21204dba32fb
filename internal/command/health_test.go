package command_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/tlstest"
)

func at(listen string) config.HTTP { return config.HTTP{Listen: listen} }

func TestHealthAsksTheGatewayThatListensHere(t *testing.T) {
	ready, asked := true, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.Path
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"detail":"Shutting down"}` + "\n\x1b[31m" + strings.Repeat("x", 10_000)))
		}
	}))
	defer server.Close()
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, listen := range []string{port, "0.0.0.0" + port, "127.0.0.1" + port} {
		var out strings.Builder
		if err := command.Health(t.Context(), "", at(listen), time.Minute, &out); err != nil || asked != "GET /readyz" {
			t.Errorf("%s: asked %s, %v", listen, asked, err)
		}
		if want := "ready: http://127.0.0.1" + port + "/readyz\n"; out.String() != want {
			t.Errorf("%s: it prints %q, want %q", listen, out.String(), want)
		}
	}
	var out strings.Builder
	if err := command.Health(t.Context(), server.URL+"/healthz", at(":1"), time.Minute, &out); err != nil ||
		asked != "GET /healthz" {
		t.Errorf("a URL: asked %s, %v", asked, err)
	}
	for _, url := range []string{server.URL, server.URL + "/"} {
		if err := command.Health(t.Context(), url, at(":1"), time.Minute, &out); err != nil || asked != "GET /readyz" {
			t.Errorf("a URL without a path: asked %s, %v", asked, err)
		}
	}
	ready = false
	err := command.Health(t.Context(), "", at(port), time.Minute, &out)
	if err == nil || !strings.Contains(err.Error(), "not ready") || !strings.Contains(err.Error(), "503") ||
		!strings.Contains(err.Error(), "Shutting down") || strings.ContainsAny(err.Error(), "\n\x1b") ||
		len(err.Error()) > 1024 {
		t.Errorf("error %v", err)
	}
}

func TestHealthSaysWhyItFails(t *testing.T) {
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hangs.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	defer elsewhere.Close()
	for name, c := range map[string]struct{ url, listen, says string }{
		"nobody listens":     {"", "127.0.0.1:1", "refused"},
		"it does not answer": {hangs.URL, "", "deadline"},
		"another redirects":  {elsewhere.URL, "", "302"},
		"any free port":      {"", ":0", "name the URL"},
		"no URL":             {"::", "", "health: "},
		"no scheme":          {"localhost:8000", "", "http://"},
	} {
		begun := time.Now()
		err := command.Health(t.Context(), c.url, at(c.listen), 2*time.Second, new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") ||
			time.Since(begun) > 30*time.Second {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHealthTrustsTheGatewaysOwnCertificateAlone(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	authority.Issue("gateway")
	authority.Issue("other")
	pair, err := tls.LoadX509KeyPair(authority.Path("gateway.crt"), authority.Path("gateway.key"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	c := at(server.URL[strings.LastIndexByte(server.URL, ':'):])
	for name, ready := range map[string]bool{"gateway": true, "other": false} {
		c.TLSCert = authority.Path(name + ".crt")
		var out strings.Builder
		err := command.Health(t.Context(), "", c, time.Minute, &out)
		if ready != (err == nil) || ready != strings.HasPrefix(out.String(), "ready: https://") {
			t.Errorf("with the certificate %s: %q, %v", name, out.String(), err)
		}
	}
}
