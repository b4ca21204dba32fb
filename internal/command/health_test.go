package command_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/command"
)

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
		if err := command.Health(t.Context(), "", listen, time.Minute, &out); err != nil || asked != "GET /readyz" {
			t.Errorf("%s: asked %s, %v", listen, asked, err)
		}
		if want := "ready: http://127.0.0.1" + port + "/readyz\n"; out.String() != want {
			t.Errorf("%s: it prints %q, want %q", listen, out.String(), want)
		}
	}
	var out strings.Builder
	if err := command.Health(t.Context(), server.URL+"/healthz", ":1", time.Minute, &out); err != nil ||
		asked != "GET /healthz" {
		t.Errorf("a URL: asked %s, %v", asked, err)
	}
	for _, url := range []string{server.URL, server.URL + "/"} {
		if err := command.Health(t.Context(), url, ":1", time.Minute, &out); err != nil || asked != "GET /readyz" {
			t.Errorf("a URL without a path: asked %s, %v", asked, err)
		}
	}
	ready = false
	err := command.Health(t.Context(), "", port, time.Minute, &out)
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
		err := command.Health(t.Context(), c.url, c.listen, 200*time.Millisecond, new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") ||
			time.Since(begun) > 5*time.Second {
			t.Errorf("%s: %v", name, err)
		}
	}
}
