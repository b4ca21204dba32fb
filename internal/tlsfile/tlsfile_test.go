package tlsfile_test

import (
	"crypto/tls"
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
