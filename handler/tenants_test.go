package handler_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

// shared opens a replica by a file of settings, as the program does. The logic answers with the webhook that it was
// given.
func (h *testbed) shared(file string) *replica {
	h.Helper()
	return h.sharedFor(file, func(*handler.Tenant) (logic.Logic, func(), error) {
		return logic.Func(h.execute), func() {}, nil
	})
}

// sharedFor is shared with a logic for each tenant.
func (h *testbed) sharedFor(file string, choose handler.Choose) *replica {
	h.Helper()
	c := h.configured(file)
	ctx, stop := context.WithCancel(context.Background())
	g, err := handler.OpenFor(ctx, c, choose, slog.New(slog.NewTextHandler(testLog{h}, nil)))
	if err != nil {
		h.Fatalf("open: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Fatalf("a free port: %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, l) }()
	h.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			h.Errorf("serve: %v", err)
		}
	})
	return &replica{testbed: h, addr: l.Addr().String(), server: g.Server(), gateway: g}
}

// configured reads a file of settings for this testbed's Redis.
func (h *testbed) configured(file string) config.Config {
	h.Helper()
	path := filepath.Join(h.TempDir(), "oncegate.yaml")
	if err := os.WriteFile(path, []byte("settle: 0s\nmetrics_flush: 20ms\nwait_timeout: 30s\n"+file), 0o600); err != nil {
		h.Fatal(err)
	}
	line, err := config.Parse([]string{"--config", path}, func(name string) string {
		if name == "REDIS_URL" {
			return "redis://" + h.addr
		}
		return ""
	}, "test")
	if err != nil {
		h.Fatal(err)
	}
	return line.Config
}

// tells makes the logic answer with the tenant of its webhook, and a running number.
func (h *testbed) tells() {
	h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
		return logic.JSON(fmt.Sprintf("%s %d", w.Tenant, h.executions.Load()))
	})
}

const twoTenants = `
tenants:
  acme: {api_keys: [acme-key]}
  beta: {api_keys: [beta-key, beta-next]}
  shop: {api_keys: [shop-key], identity: 'header:Idempotency-Key'}
  calls: {open: true, identity: 'json:call_sid,call_status'}
`

func (r *replica) bring(path, body string, headers ...string) response {
	return r.exchange(request("POST", path, body, append(headers, "Content-Type: application/json")...))
}

func (r *replica) ask(path string, headers ...string) response {
	return r.exchange(request("GET", path, "", headers...))
}

func TestTheDoorKnowsWhoComesIn(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.shared(twoTenants + "  near: {open: true, allow: [192.0.2.0/24]}\n  here: {open: true, allow: [127.0.0.1]}\n")
	acmes := "cognigy:fp:" + fingerprint.OfTenant("acme", "cognigy", []byte("d-0001"), []byte("n-0001"), []byte("7")).Hex()
	for _, c := range []struct {
		name, method, path string
		headers            []string
		status             int
	}{
		{"a tenant's path with its key", "POST", "/t/acme", []string{"X-API-Key: acme-key"}, 200},
		{"the other place for a key", "POST", "/t/acme", []string{"Authorization: Bearer acme-key"}, 200},
		{"the key says who it is", "POST", "/webhook/cognigy", []string{"X-API-Key: acme-key"}, 200},
		{"one of several keys", "POST", "/t/beta", []string{"X-API-Key: beta-next"}, 200},
		{"no key", "POST", "/t/acme", nil, 401},
		{"a key of nobody", "POST", "/t/acme", []string{"X-API-Key: acme-kex"}, 401},
		{"another's key", "POST", "/t/acme", []string{"X-API-Key: beta-key"}, 401},
		{"keys of two", "POST", "/t/acme", []string{"X-API-Key: acme-key", "Authorization: Bearer beta-key"}, 401},
		{"keys of two, twice in one header", "POST", "/t/acme", []string{"X-API-Key: acme-key", "X-API-Key: beta-key"}, 401},
		{"keys of two where the key says", "POST", "/webhook/cognigy",
			[]string{"X-API-Key: acme-key", "Authorization: Bearer beta-key"}, 401},
		{"two keys of one", "POST", "/t/beta", []string{"X-API-Key: beta-key", "Authorization: Bearer beta-next"}, 200},
		{"nobody's key where the key says", "POST", "/webhook/cognigy", nil, 401},
		{"a key whose webhooks are no flow's", "POST", "/webhook/cognigy", []string{"X-API-Key: shop-key"}, 404},
		{"a tenant that is none", "POST", "/t/nobody", []string{"X-API-Key: acme-key"}, 404},
		{"no tenant", "POST", "/t/", []string{"X-API-Key: acme-key"}, 404},
		{"a path in its name", "POST", "/t/%2e%2e", []string{"X-API-Key: acme-key"}, 404},
		{"a way to it", "POST", "/t/beta/../acme", []string{"X-API-Key: acme-key"}, 404},
		{"its name escaped", "POST", "/t/%61cme", []string{"X-API-Key: acme-key"}, 404},
		{"a zero byte behind it", "POST", "/t/acme%00", []string{"X-API-Key: acme-key"}, 404},
		{"a name in capitals", "POST", "/t/ACME", []string{"X-API-Key: acme-key"}, 404},
		{"a path behind it", "POST", "/t/acme/x/y", []string{"X-API-Key: acme-key"}, 404},
		{"open", "POST", "/t/calls", nil, 200},
		{"its result", "GET", "/t/acme/" + acmes, []string{"X-API-Key: acme-key"}, 200},
		{"its result where the key says", "GET", "/webhook/cognigy/" + acmes, []string{"X-API-Key: acme-key"}, 200},
		{"its result without a key", "GET", "/t/acme/" + acmes, nil, 401},
		{"its result with another's key", "GET", "/t/acme/" + acmes, []string{"X-API-Key: beta-key"}, 401},
		{"its result from another", "GET", "/t/beta/" + acmes, []string{"X-API-Key: beta-key"}, 404},
		{"its result from another, where the key says", "GET", "/webhook/cognigy/" + acmes,
			[]string{"X-API-Key: beta-key"}, 404},
		{"a result of one without keys", "GET", "/t/calls/" + acmes, nil, 404},
		{"an address that is not let in", "POST", "/t/near", nil, 403},
		{"one that is", "POST", "/t/here", nil, 200},
		{"a forged address", "POST", "/t/near", []string{"X-Forwarded-For: 192.0.2.7"}, 403},
		{"another method", "PUT", "/t/acme", []string{"X-API-Key: acme-key"}, 405},
		{"a GET of no fingerprint", "GET", "/t/acme", []string{"X-API-Key: acme-key"}, 405},
	} {
		body := ""
		if c.method != "GET" {
			body = `{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"call_sid":"c-1","call_status":"done"}`
		}
		if got := r.exchange(request(c.method, c.path, body, c.headers...)); got.status != c.status {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	h.expectCounts(map[string]int64{
		"unauthorized": 9, "unknown_tenants": 7, "forbidden": 2, "acme/unauthorized": 7, "near/forbidden": 2,
		"beta/unauthorized": 0,
	})
}

func TestOneWebhookOfTwoTenantsIsTwo(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		h.tells()
		r := h.shared(twoTenants)
		for _, round := range []string{"success", "cached", "cached"} {
			for _, name := range []string{"acme", "beta"} {
				got := r.bring("/t/"+name, webhook, "X-API-Key: "+name+"-key")
				if got.status != 200 || !strings.HasPrefix(got.body, `{"status":"`+round+`","data":"`+name) {
					t.Errorf("%s: %v", name, got)
				}
			}
		}
		h.expectExecutions(2)
		h.expectCounts(map[string]int64{
			"executed": 2, "stored": 2, "total_requests": 6, "replayed": 4,
			"acme/executed": 1, "acme/stored": 1, "acme/total_requests": 3, "acme/replayed": 2, "acme/duplicates": 2,
			"beta/executed": 1, "beta/stored": 1, "beta/total_requests": 3, "beta/replayed": 2,
		})
		f := fingerprint.OfTenant("acme", "cognigy", []byte("d-0001"), []byte("n-0001"), []byte("7"))
		if value := redistest.Do(t, h.client, "GET", redis.NewKeys("cognigy").RecordOf("acme", f)); value == "" {
			t.Error("its record does not stand at its key")
		}
	})
}

func TestAnIdentityFromAHeader(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	var last logic.Webhook
	h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
		last = w
		return logic.JSON(h.executions.Load())
	})
	r := h.shared(twoTenants)
	post := func(body string, headers ...string) response {
		return r.exchange(request("POST", "/t/shop", body, append(headers, "X-API-Key: shop-key")...))
	}
	first := post("a=1&b=2", "Idempotency-Key: k-1", "Content-Type: application/x-www-form-urlencoded",
		"Content-Encoding: br")
	if first.status != 200 || !strings.Contains(first.body, `"success"`) {
		t.Fatal(first)
	}
	if last.Variables != nil || string(last.Body) != "a=1&b=2" || last.ContentEncoding != "br" ||
		last.ContentType != "application/x-www-form-urlencoded" || last.Tenant != "shop" || last.DialogID != "" {
		t.Errorf("the logic gets %+v", last)
	}
	for body, header := range map[string]string{"a=1&b=2": "Idempotency-Key: k-1", "other": "idempotency-key: k-1"} {
		if got := post(body, header); got.status != 200 || !strings.Contains(got.body, `"cached","data":1`) ||
			(got.header("Idempotency-Mismatch") == "true") != (body == "other") {
			t.Errorf("%s: %v", body, got)
		}
	}
	t.Run("two keys with one body never meet, also when the body was replayed before", func(t *testing.T) {
		for n, want := range []string{`"success","data":2`, `"cached","data":1`, `"cached","data":2`} {
			key := []string{"k-2", "k-1", "k-2"}[n]
			if got := post("a=1&b=2", "Idempotency-Key: "+key); !strings.Contains(got.body, want) {
				t.Errorf("%s: %v", key, got)
			}
		}
	})
	for name, headers := range map[string][]string{
		"missing":            nil,
		"empty":              {"Idempotency-Key:"},
		"of 256 bytes":       {"Idempotency-Key: " + strings.Repeat("a", 256)},
		"of 300 bytes":       {"Idempotency-Key: " + strings.Repeat("a", 300)},
		"with a space":       {"Idempotency-Key: a b"},
		"not ASCII":          {"Idempotency-Key: é"},
		"with a tab":         {"Idempotency-Key: a\tb"},
		"twice":              {"Idempotency-Key: a", "Idempotency-Key: a"},
		"a template's":       {"Idempotency-Key: undefined"},
		"another's, by name": {"X-Idempotency-Key: a"},
	} {
		if got := post("{}", headers...); got.status != 400 || !strings.Contains(got.body, `"field":"idempotency-key"`) {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, c := range "\x00\x01\x1b\x7f" { // bytes that are no HTTP at all are refused earlier
		if got := post("{}", "Idempotency-Key: a"+string(c)+"b"); got.status != 400 {
			t.Errorf("with %q: %v", c, got)
		}
	}
	h.expectExecutions(2)
}

func TestAnIdentityFromAJSONBody(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) { return logic.JSON(h.executions.Load()) })
	r := h.shared("tenants:\n  calls: {open: true, identity: 'json:id,data.state'}\n")
	same := func(want string, bodies ...string) {
		t.Helper()
		for _, body := range bodies {
			if got := r.bring("/t/calls", body); got.status != 200 || !strings.Contains(got.body, `"data":`+want+",") {
				t.Errorf("%s: %v", body, got)
			}
		}
	}
	same("1", `{"id":7,"data":{"state":"done"}}`, ` {"data":{"x":[1],"state":"do\u006ee"},"id":70e-1}`,
		`{"\u0069d":7.0,"data":{"state":"done","states":1}}`)
	same("2", `{"id":"7","data":{"state":"done"}}`)
	same("3", `{"id":"7:done","data":{"state":"x"}}`)
	same("4", `{"id":"7","data":{"state":"done:x"}}`)
	same("5", `{"id":true,"data":{"state":"done"}}`)
	same("6", `{"id":"true","data":{"state":"done"}}`)
	same("7", `{"id":9223372036854775807,"data":{"state":"done"}}`)
	same("8", `{"id":9223372036854775806,"data":{"state":"done"}}`)
	for body, field := range map[string]string{
		`{"data":{"state":"done"}}`:                                      "id",
		`{"id":7}`:                                                       "data.state",
		`{"id":7,"data":{"state":null}}`:                                 "data.state",
		`{"id":7,"data":{"state":""}}`:                                   "data.state",
		`{"id":7,"data":{"state":"\ud800"}}`:                             "data.state",
		`{"id":7,"data":{"state":["done"]}}`:                             "data.state",
		`{"id":7,"data":[{"state":"done"}]}`:                             "data.state",
		`{"id":7,"data":"done"}`:                                         "data.state",
		`{"id":7.5,"data":{"state":"done"}}`:                             "id",
		`{"id":9223372036854775808,"data":{"state":"d"}}`:                "id",
		`{"id":7,"id":7,"data":{"state":"done"}}`:                        "id",
		`{"id":7,"\u0069d":8,"data":{"state":"done"}}`:                   "id",
		`{"id":7,"data":{"state":"a","state":"b"}}`:                      "data.state",
		`{"id":7,"data":{"state":"a"},"data":{"state":"b"}}`:             "data.state",
		`{"id":"` + strings.Repeat("a", 513) + `","data":{"state":"a"}}`: "id",
		`{"id":"undefined","data":{"state":"a"}}`:                        "id",
		`[7]`:                                      "body",
		`{"id":7,"data":{"state":"done"}}x`:        "body",
		`{"id":7,"data":{"state":"done"},}`:        "body",
		"{\"id\":\"\xff\",\"data\":{\"state\":1}}": "body",
		`id=7`: "body",
	} {
		if got := r.bring("/t/calls", body); got.status != 400 || !strings.Contains(got.body, `"field":"`+field+`"`) {
			t.Errorf("%s: %v", body, got)
		}
	}
	h.expectExecutions(8)
}

func TestAWebhookOfAnotherIdentityIsNoFlows(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.shared("identity: json:id\n")
	if got := r.post(`{"id":7}`); got.status != 200 {
		t.Error(got)
	}
	if got := r.post(webhook); got.status != 400 {
		t.Error(got)
	}
	f := fingerprint.OfTenant("", "json:id", []byte("number"), []byte("7"))
	if value := redistest.Do(t, h.client, "GET", redis.NewKeys("cognigy").Record(f)); value == "" {
		t.Error("its record does not stand at its key")
	}
}

func TestOnlyWhoSignsComesIn(t *testing.T) {
	t.Parallel()
	const secret, other = "0123456789abcdef", "fedcba9876543210"
	h := onReal(t)
	r := h.shared(`
tenants:
  hooks:
    signature: {form: sha256-hex, header: X-Signature-256, secret: [` + secret + ", " + other + `]}
    identity: json:id
`)
	sign := func(secret, body string) string {
		m := hmac.New(sha256.New, []byte(secret))
		m.Write([]byte(body))
		return fmt.Sprintf("X-Signature-256: sha256=%x", m.Sum(nil))
	}
	for name, c := range map[string]struct {
		body, header string
		status       int
	}{
		"signed":                    {`{"id":1}`, sign(secret, `{"id":1}`), 200},
		"signed before a rotation":  {`{"id":2}`, sign(other, `{"id":2}`), 200},
		"not signed":                {`{"id":3}`, "X-Other: 1", 401},
		"another body":              {`{"id":4}`, sign(secret, `{"id":1}`), 401},
		"another secret":            {`{"id":5}`, sign("0123456789abcdee", `{"id":5}`), 401},
		"no JSON, and not signed":   {`{"id":`, "X-Other: 1", 401},
		"no JSON, signed":           {`{"id":`, sign(secret, `{"id":`), 400},
		"a replayed body, unsigned": {`{"id":1}`, "X-Other: 1", 401},
	} {
		if got := r.bring("/t/hooks", c.body, c.header); got.status != c.status {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := r.ask("/t/hooks/" + strings.Repeat("0", 64)); got.status != 404 {
		t.Errorf("what became of one is told without a key: %v", got)
	}
	h.expectCounts(map[string]int64{"unsigned": 5, "hooks/unsigned": 5, "malformed": 1, "hooks/malformed": 1})
}

func TestACallerIsWhereATrustedProxySaysAndNobodyElse(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	const tenants = "tenants:\n  near: {open: true, allow: [192.0.2.0/24, '2001:db8::/32']}\n"
	trusting, wary := h.shared("trusted_proxies: 127.0.0.1,10.0.0.0/8\n"+tenants), h.shared(tenants)
	for forwarded, lets := range map[string]bool{
		"192.0.2.7":                       true,
		"192.0.2.7:1234":                  true,
		"2001:db8::1":                     true,
		"[2001:db8::1]:80":                true,
		"::ffff:192.0.2.7":                true,
		"192.0.2.7, 10.1.2.3":             true, // a chain of proxies
		"198.51.100.9, 192.0.2.7":         true, // the caller's own claim does not count
		"198.51.100.9,192.0.2.7,10.1.2.3": true,
		"192.0.2.7, 198.51.100.9":         false,
		"198.51.100.9":                    false,
		"192.0.2.7, unknown":              false,
		"192.0.2.7, ":                     false,
		"10.1.2.3":                        false,
		strings.Repeat("10.0.0.1,", 500):  false,
	} {
		header := "X-Forwarded-For: " + forwarded
		if got := trusting.bring("/t/near", webhook, header); (got.status == 200) != lets {
			t.Errorf("%.60s: %v", forwarded, got)
		}
		if got := wary.bring("/t/near", webhook, header); got.status != 403 {
			t.Errorf("%.60s, from nobody who is trusted: %v", forwarded, got)
		}
	}
	t.Run("over several headers", func(t *testing.T) {
		got := trusting.bring("/t/near", webhook, "X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 198.51.100.9")
		if got.status != 403 {
			t.Error(got)
		}
	})
}

func TestAStrangersBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.shared(twoTenants)
	for name, head := range map[string]string{
		"a wrong key":    "POST /t/acme HTTP/1.1\r\nHost: h\r\nX-API-Key: x\r\nContent-Length: 5000\r\n\r\n",
		"no such tenant": "POST /t/none HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n",
		"who asks first": "POST /t/acme HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n",
	} {
		c, err := dial(r.addr)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		got := c.exchange(head + map[bool]string{true: "x"}[name != "who asks first"])
		if got.status != 401 && got.status != 404 || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %v after %v", name, got, time.Since(began))
		}
		c.Close()
	}
}

func TestATenantHasItsOwnRules(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.shared(`
tenants:
  acme: {open: true, max_body_bytes: 1KiB, response_mode: passthrough, mismatch: reject}
  beta: {open: true, max_body_bytes: 4MiB, processing_status: 425, wait_timeout: 6s, max_waiters: 1}
`)
	large := strings.Replace(webhook, `"seats":2`, `"seats":2,"pad":"`+strings.Repeat("x", 2<<20)+`"`, 1)
	if got := r.bring("/t/acme", large); got.status != 413 {
		t.Errorf("a large body: %v", got.status)
	}
	if got := r.bring("/t/beta", large); got.status != 200 {
		t.Errorf("a large body where it may be: %v", got.status)
	}
	if got := r.bring("/t/acme", webhook); got.status != 200 || got.body != `{"execution":2}` {
		t.Errorf("passed through: %v", got)
	}
	if got := r.bring("/t/acme", strings.Replace(webhook, "2}}", "3}}", 1)); got.status != 422 {
		t.Errorf("another body: %v", got)
	}
	if got := r.bring("/t/beta", webhook); got.status != 200 || got.header("Idempotency-Mismatch") != "true" {
		t.Errorf("another body where that is served: %v", got)
	}
}

func TestATenantWhoseLogicHangsCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	release := make(chan struct{})
	defer close(release)
	h.setLogic(func(ctx context.Context, w logic.Webhook) (logic.Result, error) {
		if w.Tenant == "acme" {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return logic.JSON(w.Tenant)
	})
	r := h.shared("shutdown_timeout: 1s\ntenants:\n" +
		"  acme: {open: true, max_executions: 2, max_waiters: 20, wait_timeout: 6s}\n" +
		"  beta: {open: true, max_executions: 2}\n")
	body := func(n int) string { return strings.Replace(webhook, ":7", fmt.Sprint(":", n), 1) }
	for n := range 2 {
		go r.bring("/t/acme", body(n))
	}
	h.eventually("two of acme's run", func() bool { return h.executions.Load() == 2 })
	if got := r.bring("/t/acme", body(3)); got.status != 503 {
		t.Errorf("a third one: %v", got)
	}
	for n := range 5 {
		if got := r.bring("/t/beta", body(n)); got.status != 200 {
			t.Errorf("another's: %v", got)
		}
	}
}

func TestAWebhookOfATenantIsLoggedWithItsNameAndNoPayload(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) { return logic.Result{}, errLogic })
	var log bytes.Buffer
	c := h.configured("log_executions: all\n" + twoTenants)
	g, err := handler.Open(t.Context(), c, logic.Func(h.execute), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, l) }()
	r := &replica{testbed: h, addr: l.Addr().String()}
	r.bring("/t/calls", `{"call_sid":"private-1","call_status":"private-2"}`)
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if said := log.String(); !strings.Contains(said, "tenant=calls") || strings.Contains(said, "private") ||
		!strings.Contains(said, "outcome=failed") {
		t.Errorf("the log says\n%s", said)
	}
}

func TestNothingOfOneTenantIsFoundByAnother(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.shared(twoTenants)
	f := fingerprint.OfTenant("acme", "cognigy", []byte("d-0001"), []byte("n-0001"), []byte("7"))
	ask := func(of string) response { return r.ask("/t/"+of+"/"+f.Hex(), "X-API-Key: "+of+"-key") }
	for range 3 { // executed, replayed by the script, replayed from memory
		r.bring("/t/acme", webhook, "X-API-Key: acme-key")
	}
	for range 2 {
		if got := ask("acme"); got.status != 200 {
			t.Errorf("its own is told\n%v", got)
		}
		if got := ask("beta"); got.status != 404 || strings.Contains(got.body, "execution") {
			t.Errorf("another is told\n%v", got)
		}
	}
	if value := redistest.Do(t, h.client, "GET", redis.NewKeys("cognigy").RecordOf("beta", f)); value != "" {
		t.Errorf("at the other's key stands %q", value)
	}
}

func TestSettingsComeIntoForceWithoutARestart(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	entered, release := make(chan string, 9), make(chan struct{})
	h.setLogic(func(_ context.Context, w logic.Webhook) (logic.Result, error) {
		if w.Tenant == "gone" {
			entered <- w.Tenant
			<-release
		}
		return logic.JSON(w.Tenant)
	})
	r := h.shared("tenants:\n  acme: {api_keys: [old]}\n  gone: {open: true}\n  same: {open: true}\n")
	post := func(path, key string) int { return r.bring(path, webhook, "X-API-Key: "+key).status }
	running := make(chan response, 1)
	go func() { running <- r.bring("/t/gone", webhook) }()
	<-entered
	if post("/t/acme", "old") != 200 || post("/t/same", "x") != 200 || post("/t/new", "x") != 404 {
		t.Fatal("at first they are not as the file says")
	}
	t.Run("what takes a restart is not taken, nor anything beside it", func(t *testing.T) {
		c := h.configured("lock_ttl: 15s\ntenants:\n  new: {open: true}\n")
		err := r.gateway.Reload(c)
		if err == nil || !strings.Contains(err.Error(), "LOCK_TTL changed, which takes a restart") {
			t.Errorf("error %v", err)
		}
		c = h.configured("tenants:\n  new: {open: true, result_key_file: /nowhere}\n")
		if err := r.gateway.Reload(c); err == nil || !strings.Contains(err.Error(), "tenant new") {
			t.Errorf("error %v", err)
		}
		if post("/t/acme", "old") != 200 || post("/t/new", "x") != 404 {
			t.Error("something was taken")
		}
	})
	c := h.configured("tenants:\n  acme: {api_keys: [new]}\n  new: {open: true}\n  same: {open: true}\n")
	if err := r.gateway.Reload(c); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/t/acme": 401, "/t/gone": 404, "/t/same": 200, "/t/new": 200} {
		if got := post(path, "old"); got != want {
			t.Errorf("%s: %d", path, got)
		}
	}
	if got := post("/t/acme", "new"); got != 200 {
		t.Errorf("with its new key: %d", got)
	}
	close(release)
	if got := <-running; got.status != 200 || !strings.Contains(got.body, `"success","data":"gone"`) {
		t.Errorf("what ran meanwhile: %v", got)
	}
	h.expectCounts(map[string]int64{"reloads_failed": 2, "gone/stored": 1, "new/stored": 1})
}

// TestATenantWhoseSettingsDidNotChangeStays: it keeps its connections, its circuit breaker and its memory.
func TestATenantWhoseSettingsDidNotChangeStays(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	keys := filepath.Join(t.TempDir(), "result-keys")
	sealedWith := func(letter string) {
		t.Helper()
		secret := func(of string) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(of), 32)) }
		text := "key-" + letter + " " + secret(letter) + "\ndigest " + secret("d") + "\n"
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sealedWith("a")
	chosen := map[string]int{}
	file := "tenants:\n  same: {open: true}\n  other: {open: true, result_ttl: %s}\n" +
		"  sealed: {open: true, result_key_file: " + keys + "}\n"
	r := h.sharedFor(fmt.Sprintf(file, "2h"), func(t *handler.Tenant) (logic.Logic, func(), error) {
		chosen[t.Name]++
		return logic.Func(h.execute), func() {}, nil
	})
	expect := func(what string, want map[string]int) {
		t.Helper()
		if !maps.Equal(chosen, want) {
			t.Errorf("%s: logic was chosen %v times, want %v", what, chosen, want)
		}
	}
	reload := func(file string) {
		t.Helper()
		if err := r.gateway.Reload(h.configured(file)); err != nil {
			t.Fatal(err)
		}
	}
	reload(fmt.Sprintf(file, "2h"))
	expect("nothing changed", map[string]int{"same": 1, "other": 1, "sealed": 1})
	reload(fmt.Sprintf(file, "3h"))
	expect("a setting changed", map[string]int{"same": 1, "other": 2, "sealed": 1})
	sealedWith("b")
	reload(fmt.Sprintf(file, "3h"))
	expect("a file changed", map[string]int{"same": 1, "other": 2, "sealed": 2})
}
