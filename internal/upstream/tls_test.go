package upstream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/upstream"
)

// authority issues certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true})
	return a
}

// issue writes name.crt and name.key.
func (a *authority) issue(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	c.SerialNumber, c.Subject = big.NewInt(1), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	must(a.t, err)
	secretDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(a.t, err)
	a.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secretDER}))
	issued, err := x509.ParseCertificate(der)
	must(a.t, err)
	return issued, key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name string, content []byte) {
	a.t.Helper()
	must(a.t, os.WriteFile(a.path(name), content, 0o600))
}

// serve is a server with a certificate of this authority's that wants to see one of a client.
func (a *authority) serve(answer http.HandlerFunc) string {
	a.t.Helper()
	cert, key := a.issue("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	s := httptest.NewUnstartedServer(answer)
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients,
	}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s.URL
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// httpsWithoutTrust is a backend whose certificate comes from an authority that nobody knows.
func httpsWithoutTrust(t *testing.T) string {
	t.Helper()
	return newAuthority(t).serve(func(http.ResponseWriter, *http.Request) { t.Error("it was reached") })
}

func TestABackendAndItsTokensAreReachedWithAnAuthorityAndACertificateOfOnesOwn(t *testing.T) {
	a := newAuthority(t)
	a.issue("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	protocols := make(chan string, 1)
	var b bank
	backend := a.serve(func(w http.ResponseWriter, r *http.Request) {
		protocols <- r.Proto + " for " + r.TLS.PeerCertificates[0].Subject.CommonName
		b.take(w, r)
	})
	tokens := a.serve(b.issue)
	c, err := upstream.LoadTLS(a.path("ca.crt"), a.path("client.crt"), a.path("client.key"))
	must(t, err)
	h := open(t, upstream.Options{URL: backend, TLS: c, OAuth: credentials(tokens)})
	equal(t, h.gives(webhook()).Status, 200)
	equal(t, <-protocols, "HTTP/1.1 for client")

	c, err = upstream.LoadTLS(a.path("ca.crt"), "", "")
	must(t, err)
	h = open(t, upstream.Options{URL: backend, TLS: c})
	h.fails(t.Context(), webhook(), unknown) // TLS 1.3 tells of it after the request was written
}

func TestFilesThatCanNotBeUsedAreNamed(t *testing.T) {
	a := newAuthority(t)
	a.issue("client", &x509.Certificate{})
	a.issue("other", &x509.Certificate{})
	a.write("text", []byte(secret))
	for name, c := range map[string]struct{ ca, cert, key, tells string }{
		"no such authority":    {"absent", "", "", "absent"},
		"no authority in it":   {"text", "", "", "text"},
		"no such certificate":  {"ca.crt", "absent", "client.key", "absent"},
		"no certificate in it": {"ca.crt", "text", "client.key", "text"},
		"no such key":          {"ca.crt", "client.crt", "absent", "absent"},
		"no key in it":         {"ca.crt", "client.crt", "text", "text"},
		"no key named":         {"ca.crt", "client.crt", "", "client.crt"},
		"another's key":        {"ca.crt", "client.crt", "other.key", "other.key"},
	} {
		t.Run(name, func(t *testing.T) {
			path := func(name string) string {
				if name == "" {
					return ""
				}
				return a.path(name)
			}
			_, err := upstream.LoadTLS(path(c.ca), path(c.cert), path(c.key))
			if err == nil || !strings.Contains(err.Error(), c.tells) || strings.Contains(err.Error(), secret) {
				t.Errorf("error %v", err)
			}
		})
	}
	if c, err := upstream.LoadTLS("", "", ""); err != nil || c.MinVersion != tls.VersionTLS12 {
		t.Errorf("%v %v", c, err)
	}
}
