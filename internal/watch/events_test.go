package watch_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/tracing"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/upstream"
)

// traced sends a webhook of acme's in a trace, and returns the status of its answer.
func (r *replica) traced(trace int, node, body string) int {
	r.t.Helper()
	request, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(r.url, "/webhook/cognigy")+"/t/acme",
		strings.NewReader(`{"dialogId":"d","nodeId":"`+node+`","sequence":1,"variables":{"body":"`+body+`"}}`))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", "acme-key")
	request.Header.Set("Traceparent", fmt.Sprintf("00-%032x-%016x-00", trace, 1))
	if body == "while it runs" {
		request.Header.Set("Prefer", "wait=0")
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, reply.Body)
	_ = reply.Body.Close()
	return reply.StatusCode
}

// ofAcme is the fingerprint of one.
func ofAcme(node string) fingerprint.Fingerprint {
	return fingerprint.OfTenant("acme", "cognigy", []byte("d"), []byte(node), []byte("1"))
}

// keysFile writes a file of keys of which one of this name seals.
func keysFile(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	secret := func(letter string) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(letter), 32)) }
	text := name + " " + secret(name[:1]) + "\ndigest " + secret("d") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEachLineAboutAWebhookNamesIt makes every event of the table of webhooks in docs/operations.md happen, and wants
// of its line the fingerprint, the tenant, the attempt and the trace of the request that met it.
func TestEachLineAboutAWebhookNamesIt(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case bytes.Contains(body, []byte("fails")):
			w.WriteHeader(http.StatusInternalServerError)
		case bytes.Contains(body, []byte("overtaken")):
			close(begun)
			<-release
		case bytes.Contains(body, []byte("long")):
			w.Header().Set("X-Long", strings.Repeat("x", 16<<10))
		}
	}))
	defer backend.Close()
	ofUpstream := new(lockedBuffer)
	u, err := upstream.New(upstream.Options{
		URL: backend.URL, MaxResultBytes: 1 << 20, Keep: []string{"X-Long"},
		Log: slog.New(slog.NewTextHandler(ofUpstream, nil)).With("tenant", "acme"), // as main does
	})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	server := redistest.Start(t)
	client := redistest.Client(t, server.Addr())
	open := func(key string) *replica {
		return start(t, u, func(c *config.Config) {
			c.Redis.URL, c.Redis.Timeout = config.Secret(server.URL()), 900*time.Millisecond
			c.Execution.LockTTL, c.Execution.MaxAttempts = 3*time.Second, 1
			c.Execution.ResultKeyFile = keysFile(t, key)
			c.Log.Executions = config.ExecutionsAll
			tenants(c, "acme")
		}, func(g *handler.Gateway) { g.Trace(tracing.New(sdk.NewTracerProvider())) })
	}
	one, two := open("one"), open("two")
	record := func(node string) string { return "cognigy:t:acme:fp:" + ofAcme(node).Hex() }
	forget := func(node, force string) {
		reply, err := http.PostForm(one.admin+"/webhook/"+ofAcme(node).Hex()+"/forget",
			url.Values{"tenant": {"acme"}, "force": {force}})
		if err != nil {
			t.Fatal(err)
		}
		_ = reply.Body.Close()
	}
	overtaken := make(chan int, 1)
	var told []string
	for _, c := range []struct {
		message, node, attempt string
		trace                  int // 0: no request met it
		happens                func()
	}{
		{"execution", "books", "1", 1, func() { one.traced(1, "books", "") }},
		{"another body came with the same identity", "books", "1", 2, func() { one.traced(2, "books", "other") }},
		{"a webhook is not executed any more until a person decides", "fails", "1", 4, func() {
			one.traced(3, "fails", "")
			one.traced(4, "fails", "")
		}},
		{"a header of the backend's answer is not kept", "long", "1", 5, func() { one.traced(5, "long", "") }},
		{"results are sealed under a key that this replica does not have", "books", "1", 6, func() {
			two.traced(6, "books", "")
		}},
		{"a sealed result does not open", "moved", "1", 7, func() {
			redistest.Do(t, client, "COPY", record("books"), record("moved"))
			one.traced(7, "moved", "")
		}},
		{"another program's value stands at a record's key", "foreign", "", 8, func() {
			redistest.Do(t, client, "SET", record("foreign"), "another program's")
			one.traced(8, "foreign", "")
		}},
		{"another body came with the same identity", "overtaken", "1", 10, func() {
			go func() { overtaken <- one.traced(9, "overtaken", "") }()
			<-begun
			if status := one.traced(10, "overtaken", "while it runs"); status != http.StatusConflict {
				t.Errorf("while it runs %d is answered", status)
			}
		}},
		{"a person had a webhook forgotten", "overtaken", "", 0, func() { forget("overtaken", "yes") }},
		{"lease lost", "overtaken", "1", 9, func() {}}, // when it is renewed next
		{"execution", "overtaken", "1", 9, func() {
			close(release)
			<-overtaken
		}},
		{"a person wanted a webhook forgotten", "books", "", 0, func() {
			server.Kill()
			forget("books", "")
		}},
	} {
		told = append(told, c.message)
		c.happens()
		trace := ""
		if c.trace > 0 {
			trace = fmt.Sprintf("%032x", c.trace)
		}
		var line string
		eventually(t, c.message, func() bool {
			lines := strings.Split(one.log.String()+two.log.String()+ofUpstream.String(), "\n")
			at := slices.IndexFunc(lines, func(line string) bool {
				_, message, _ := strings.Cut(line, " msg=")
				return strings.HasPrefix(strings.TrimPrefix(message, `"`), c.message) &&
					strings.Contains(line, ofAcme(c.node).String())
			})
			if at >= 0 {
				line = lines[at]
			}
			return at >= 0
		})
		for name, want := range map[string]string{
			"fingerprint": ofAcme(c.node).String(), "tenant": "acme", "attempt": c.attempt, "trace_id": trace,
		} {
			_, has, _ := strings.Cut(line, " "+name+"=")
			if has, _, _ = strings.Cut(has, " "); has != want {
				t.Errorf("%s has %s %q, want %q:\n%s", c.message, name, has, want, line)
			}
		}
	}
	_, table, _ := strings.Cut(read(t, "docs/operations.md"), "\n**Webhooks**\n")
	table, _, _ = strings.Cut(table, "\n**")
	slices.Sort(told)
	if documented := matches(table, "(?m)^\\| `(.+?)` \\|"); !slices.Equal(documented, slices.Compact(told)) {
		t.Errorf("these happened here: %q\nthese stand in docs/operations.md: %q", slices.Compact(told), documented)
	}
}
