package upstream_test

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/oncegate/oncegate/internal/tlsfile"
	"github.com/oncegate/oncegate/internal/tlstest"
	"github.com/oncegate/oncegate/internal/upstream"
)

// serveTLS starts a server whose certificate an authority has issued, and which asks for a client certificate.
func serveTLS(t *testing.T, a *tlstest.Authority, answer http.HandlerFunc) string {
	t.Helper()
	a.Issue("server")
	own, err := tlsfile.Load(a.Path("ca.crt"), a.Path("server.crt"), a.Path("server.key"))
	must(t, err)
	s := httptest.NewUnstartedServer(answer)
	s.TLS = own
	s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, own.RootCAs
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// httpsWithoutTrust starts a backend whose certificate comes from an unknown authority.
func httpsWithoutTrust(t *testing.T) string {
	t.Helper()
	return serveTLS(t, tlstest.NewAuthority(t), func(http.ResponseWriter, *http.Request) { t.Error("it was reached") })
}

func TestABackendAndItsTokensAreReachedWithAnAuthorityAndACertificateOfOnesOwn(t *testing.T) {
	a := tlstest.NewAuthority(t)
	a.Issue("client")
	protocols := make(chan string, 1)
	var b bank
	backend := serveTLS(t, a, func(w http.ResponseWriter, r *http.Request) {
		protocols <- r.Proto + " for " + r.TLS.PeerCertificates[0].Subject.CommonName
		b.take(w, r)
	})
	tokens := serveTLS(t, a, b.issue)
	c, err := tlsfile.Load(a.Path("ca.crt"), a.Path("client.crt"), a.Path("client.key"))
	must(t, err)
	h := open(t, upstream.Options{URL: backend, TLS: c, OAuth: credentials(tokens)})
	equal(t, h.gives(webhook()).Status, 200)
	equal(t, <-protocols, "HTTP/1.1 for client")

	c, err = tlsfile.Load(a.Path("ca.crt"), "", "")
	must(t, err)
	h = open(t, upstream.Options{URL: backend, TLS: c})
	// In TLS 1.3 the server refuses after the handshake, and so before or after the request is written.
	if _, err := h.Execute(t.Context(), webhook()); !errors.Is(err, unknown) && !errors.Is(err, refused) {
		t.Errorf("without a certificate: %v", err)
	}
}
