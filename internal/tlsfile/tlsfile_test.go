package tlsfile_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/tlsfile"
	"github.com/oncegate/oncegate/internal/tlstest"
)

func TestFilesThatCanNotBeUsedAreNamed(t *testing.T) {
	const secret = "correct-horse"
	a := tlstest.NewAuthority(t)
	a.Issue("client")
	a.Issue("other")
	if err := os.WriteFile(a.Path("text"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
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
				return a.Path(name)
			}
			_, err := tlsfile.Load(path(c.ca), path(c.cert), path(c.key))
			if err == nil || !strings.Contains(err.Error(), c.tells) || strings.Contains(err.Error(), secret) {
				t.Errorf("error %v", err)
			}
		})
	}
	if c, err := tlsfile.Load("", "", ""); err != nil || c.MinVersion != tls.VersionTLS12 {
		t.Errorf("%v %v", c, err)
	}
}

func TestACertificateThatCallersAreShownIsReadAgainWhenItChanges(t *testing.T) {
	a := tlstest.NewAuthority(t)
	for _, name := range []string{"serving", "next"} {
		a.Issue(name)
	}
	quiet := slog.New(slog.DiscardHandler)
	if _, err := tlsfile.NewServing(a.Path("serving.crt"), a.Path("next.key"), 0, quiet); err == nil {
		t.Error("another's key is taken")
	}
	var log bytes.Buffer
	s, err := tlsfile.NewServing(a.Path("serving.crt"), a.Path("serving.key"), 0, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	config := s.Config()
	shown := func() string {
		t.Helper()
		c, err := config.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.Subject.CommonName
	}
	replace := func(from, to string) {
		t.Helper()
		text, err := os.ReadFile(a.Path(from))
		if err == nil {
			err = os.WriteFile(a.Path(to), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := shown(); got != "serving" {
		t.Errorf("at first %s is shown", got)
	}
	replace("next.crt", "serving.crt") // and the key a moment later
	for range 3 {
		if got := shown(); got != "serving" {
			t.Errorf("with half of the new one %s is shown", got)
		}
	}
	if n := strings.Count(log.String(), "can't be read again"); n != 1 {
		t.Errorf("the log says %d times that it can't be read:\n%s", n, &log)
	}
	replace("next.key", "serving.key")
	if got := shown(); got != "next" {
		t.Errorf("then %s is shown", got)
	}
	if config.MinVersion != tls.VersionTLS12 || len(config.NextProtos) != 1 || config.NextProtos[0] != "http/1.1" {
		t.Errorf("callers speak %v from TLS version %x on", config.NextProtos, config.MinVersion)
	}
}
