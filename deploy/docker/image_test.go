// Package docker_test examines the image and runs the program in it. test.sh builds the image, and says where it is.
package docker_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/proc"
	"github.com/oncegate/oncegate/internal/tlstest"
)

// user is the image's own, as chroot takes it.
const user = "65532:65532"

// image is the part of buildah's description of an image that matters here.
type image struct {
	Docker struct {
		Config struct {
			User        string
			Entrypoint  []string
			Healthcheck struct{ Test []string }
		} `json:"config"`
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func given(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Fatalf("%s is not set: deploy/docker/test.sh runs this test", variable)
	}
	return value
}

func TestTheImageRunsAsNobody(t *testing.T) {
	var i image
	if err := json.Unmarshal(read(t, given(t, "INSPECTED")), &i); err != nil {
		t.Fatal(err)
	}
	c := i.Docker.Config
	if c.User != user || !slices.Equal(c.Entrypoint, []string{"/usr/bin/oncegate"}) ||
		!slices.Equal(c.Healthcheck.Test, []string{"CMD", "/usr/bin/oncegate", "health"}) {
		t.Errorf("the image has %+v", c)
	}
}

func TestNothingElseIsInTheImage(t *testing.T) {
	root := given(t, "ROOT")
	var files []string
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			files = append(files, strings.TrimPrefix(path, root))
		}
		return err
	})
	want := []string{"/etc/passwd", "/etc/ssl/certs/ca-certificates.crt", "/usr/bin/oncegate"}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("the image has %q (%v), want %q", files, err, want)
	}
	authorities := bytes.Count(read(t, root+"/etc/ssl/certs/ca-certificates.crt"), []byte("BEGIN CERTIFICATE"))
	if authorities < 100 {
		t.Errorf("the image knows %d authorities", authorities)
	}
}

// TestWhatIsInTheImageAnswersOverTLS runs the program with the image's own files, as its user. It answers callers by
// TLS, and trusts a backend whose authority is among the image's.
func TestWhatIsInTheImageAnswersOverTLS(t *testing.T) {
	root := given(t, "ROOT")
	authority := tlstest.NewAuthority(t)
	authority.Issue("backend")
	authority.Issue("gateway")
	certificate, err := tls.LoadX509KeyPair(authority.Path("backend.crt"), authority.Path("backend.key"))
	if err != nil {
		t.Fatal(err)
	}
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"booked":true}`)
	}))
	backend.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	backend.StartTLS()
	defer backend.Close()

	// The volume of a container: the certificate for callers.
	if err := os.MkdirAll(root+"/run/secrets", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gateway.crt", "gateway.key"} {
		if err := os.WriteFile(root+"/run/secrets/"+name, read(t, authority.Path(name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "LISTEN=127.0.0.1:" + port, "ADMIN_LISTEN=off",
		"UPSTREAM_URL=" + backend.URL, "TLS_CERT=/run/secrets/gateway.crt", "TLS_KEY=/run/secrets/gateway.key"}
	inImage := func(args ...string) *exec.Cmd {
		command := exec.Command("chroot", append([]string{"--userspec=" + user, root, "/usr/bin/oncegate"}, args...)...)
		command.Env = env
		return command
	}
	known := root + "/etc/ssl/certs/ca-certificates.crt"
	public := read(t, known)
	defer func() { _ = os.WriteFile(known, public, 0o644) }()
	for _, c := range []struct {
		name        string
		authorities []byte
		status      int
	}{
		{"an authority that the image does not know", public, http.StatusServiceUnavailable},
		{"an authority that it knows", append(slices.Clone(public), read(t, authority.Path("ca.crt"))...), http.StatusOK},
	} {
		if err := os.WriteFile(known, c.authorities, 0o644); err != nil {
			t.Fatal(err)
		}
		gateway, err := proc.Start(inImage())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(gateway.Kill)
		if err := gateway.Await(t.Context(), proc.Listens("127.0.0.1:"+port)); err != nil {
			t.Fatal(err)
		}
		if out, err := inImage("health").CombinedOutput(); err != nil {
			t.Errorf("%s: the health check: %v\n%s", c.name, err, out)
		}
		if status, body := post(t, authority, port); status != c.status {
			t.Errorf("%s: answer %d %s, want %d\n%s", c.name, status, body, c.status, gateway.Stderr.String())
		}
		gateway.Stop()
		if out, err := inImage("health").CombinedOutput(); err == nil {
			t.Errorf("%s: the health check of a gateway that has ended says %s", c.name, out)
		}
	}
	if out, err := inImage("--version").Output(); err != nil || !strings.HasPrefix(string(out), "oncegate v0.0.0-test") {
		t.Errorf("it says %s, %v", out, err)
	}
}

// post sends a webhook to the gateway by TLS.
func post(t *testing.T, authority *tlstest.Authority, port string) (status int, body string) {
	t.Helper()
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(read(t, authority.Path("ca.crt")))
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12},
	}}
	reply, err := client.Post(fmt.Sprintf("https://127.0.0.1:%s/webhook/cognigy", port), "application/json",
		strings.NewReader(`{"dialogId":"d","nodeId":"n","sequence":1}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(text)
}
