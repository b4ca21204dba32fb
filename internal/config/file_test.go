package config_test

import (
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/config"
)

// configured parses a file of settings, which is there for the test.
func configured(t *testing.T, text string, environment env, args ...string) *config.CommandLine {
	t.Helper()
	line := mustParse(t, append([]string{"--config", file(t, text)}, args...), environment)
	line.File.Path = ""
	return line
}

// complaint returns the error about a file, without the file's path.
func complaint(t *testing.T, text string) string {
	t.Helper()
	path := file(t, text)
	return strings.ReplaceAll(refused(t, nil, env{"CONFIG": path}), path, "FILE")
}

func TestEverySettingMayStandInAFile(t *testing.T) {
	for name, value := range setting {
		if name == "CONFIG" {
			continue
		}
		byVariable := mustParse(t, nil, companions(name).with(env{name: value}))
		others := maps.Clone(companions(name))
		delete(others, name)
		byFile := configured(t, strings.ToLower(name)+": "+strconv.Quote(value), others)
		equal(t, byFile.Config, byVariable.Config)
	}
}

func TestAListMayStandInAFile(t *testing.T) {
	line := configured(t, `
inbound_api_keys: [a, "b"]
forward_headers:
  - X-A
  - X-B
upstream:
  url: http://h
  headers:
    - "X-A: 1,2"
    - "X-B: 3"
max_executions: 7
redis_host: h
redis_password_file: `+file(t, "s3cret\n"), nil)
	equal(t, line.HTTP.APIKeys(), []string{"a", "b"})
	equal(t, line.HTTP.Forwarded(), []string{"X-A", "X-B"})
	equal(t, line.Upstream.URL, "http://h")
	equal(t, len(line.Upstream.StaticHeaders()), 2)
	equal(t, line.Execution.MaxExecutions, 7)
	equal(t, string(line.Redis.Password), "s3cret")
}

func TestTheEnvironmentAndFlagsWinOverAFile(t *testing.T) {
	const text = "result_ttl: 2h\nlock_ttl: 11s\nwait_timeout: 6s\n"
	line := configured(t, text, env{"LOCK_TTL": "12s", "WAIT_TIMEOUT": "8s"}, "--wait-timeout=9s")
	equal(t, line.Execution.ResultTTL, 2*time.Hour)
	equal(t, line.Execution.LockTTL, 12*time.Second)
	equal(t, line.Execution.WaitTimeout, 9*time.Second)
	t.Run("a flag names the file before a variable does", func(t *testing.T) {
		equal(t, configured(t, text, env{"CONFIG": "nowhere"}).Execution.ResultTTL, 2*time.Hour)
	})
	t.Run("a file of comments alone says nothing", func(t *testing.T) {
		equal(t, configured(t, "# nothing\n", nil).Config, mustParse(t, nil, nil).Config)
	})
	t.Run("check names a file too", func(t *testing.T) {
		equal(t, mustParse(t, []string{"check", file(t, text)}, env{"CONFIG": "nowhere"}).Execution.ResultTTL, 2*time.Hour)
	})
}

func TestATenantHasWhatItSetsAndElseTheGateways(t *testing.T) {
	line := configured(t, `
result_ttl: 2h
max_executions: 9
upstream_url: https://all.example
upstream_headers: "X-Key: s3cret"
upstream_status_url: https://all.example/state
tenants:
  zeta:
    open: true
  acme:
    api_keys: [acme-key]
    allow: [203.0.113.0/24, "2001:db8::1"]
    signature: {form: timestamped, header: X-Signature, secret: [0123456789abcdef, fedcba9876543210]}
    identity: header:Idempotency-Key
    result_ttl: 24h
    upstream: {url: https://acme.example, key_format: uuid}
`, env{"RESULT_TTL": "3h", "MAX_WAITERS": "5"})
	equal(t, len(line.Tenants), 2)
	equal(t, line.All(), line.Tenants)
	acme, zeta := line.Tenants[0], line.Tenants[1]
	equal(t, []string{acme.Name, zeta.Name}, []string{"acme", "zeta"})

	t.Run("what it does not set is the gateway's, also where that came from the environment", func(t *testing.T) {
		equal(t, zeta.Execution, line.Execution)
		equal(t, zeta.HTTP, line.HTTP)
		equal(t, zeta.Upstream, line.Upstream)
		equal(t, zeta.Execution.ResultTTL, 3*time.Hour)
		equal(t, acme.Execution.MaxWaiters, 5)
	})
	t.Run("what it sets stands, whatever the environment says", func(t *testing.T) {
		equal(t, acme.Execution.ResultTTL, 24*time.Hour)
		equal(t, acme.HTTP.Identity, "header:Idempotency-Key")
	})
	t.Run("of a backend it inherits all or nothing", func(t *testing.T) {
		want := config.Default().Upstream
		want.URL, want.KeyFormat = "https://acme.example", config.KeyUUID
		equal(t, acme.Upstream, want)
	})
	t.Run("its door is its own", func(t *testing.T) {
		equal(t, acme.Keys(), []string{"acme-key"})
		equal(t, acme.Ranges(), []netip.Prefix{
			netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::1/128"),
		})
		equal(t, acme.Verifier() != nil, true)
		equal(t, zeta.Door, config.Door{Open: true})
	})
}

func TestWithoutTenantsThereIsOneWithoutAName(t *testing.T) {
	line := mustParse(t, nil, env{"INBOUND_API_KEYS": "a,b"})
	all := line.All()
	equal(t, len(all), 1)
	equal(t, all[0].Name, "")
	equal(t, all[0].Keys(), []string{"a", "b"})
	equal(t, all[0].Execution, line.Execution)
	equal(t, mustParse(t, nil, nil).All()[0].Open, true)
}

func TestAFileThatMakesNoSenseIsRefusedWithThePlace(t *testing.T) {
	const tenant = "tenants:\n  acme:\n    api_keys: [k]\n    "
	for _, c := range [][2]string{
		{
			"lok_ttl: 5s\n",
			"FILE:1:1: lok_ttl is no setting: did you mean lock_ttl?\n     1 | lok_ttl: [hidden]\n       | ^",
		},
		{
			"# a\nlock_ttl: 60\n",
			"FILE:2:1: LOCK_TTL is \"60\": must be a length of time with its unit, such as 500ms, 60s or " +
				"1h30m\n     2 | lock_ttl: 60\n       | ^",
		},
		{
			"lock_ttl: 1h\n",
			"FILE:1:1: RESULT_TTL is 1h0m0s: must be at least twice LOCK_TTL (1h0m0s)",
		},
		{
			"result_ttl: 30s\n",
			"FILE:1:1: RESULT_TTL is 30s: must be at least twice LOCK_TTL",
		},
		{
			"config: x\n",
			"config is no setting",
		},
		{
			"force: true\n",
			"force is no setting",
		},
		{
			"lock_ttl: 5s\n\tx: 1\n",
			"FILE:2:1: found character ' ' that cannot start any token",
		},
		{
			"lock_ttl: 5s\nlock_ttl: 6s\n",
			"FILE:2:1: mapping key \"lock_ttl\" already defined",
		},
		{
			"upstream: {url: http://a}\nupstream_url: http://b\n",
			"FILE:2:1: upstream_url is given twice",
		},
		{
			"lock_ttl: [5s\n",
			"FILE:1:",
		},
		{
			"lock_ttl\n",
			"must be settings, one \"name: value\" a line",
		},
		{
			"- lock_ttl\n",
			"must be settings, one \"name: value\" a line",
		},
		{
			"lock_ttl:\n",
			"lock_ttl must be plain text or a list of it",
		},
		{
			"lock_ttl: {a: 1}\n",
			"lock_ttl must be plain text or a list of it",
		},
		{
			"lock_ttl: &a 5s\n",
			"without anchors and tags",
		},
		{
			"lock_ttl: !!str 5s\n",
			"without anchors and tags",
		},
		{
			"7: 5s\n",
			"must be a name, as plain text",
		},
		{
			"lock_ttl: 5s\n---\na: b\n",
			"several documents",
		},
		{
			"lock_ttl: \xff\n",
			"not UTF-8",
		},
		{
			strings.Repeat("[", 100),
			"more than 32 brackets in each other",
		},
		{
			strings.Repeat("# a\n", 1<<19),
			"larger than 1MiB",
		},
		{
			"redis_url_file: nowhere\n",
			"REDIS_URL_FILE is \"nowhere\": must be a file with a secret",
		},
		{
			"redis_url: a\nredis_url_file: b\n",
			"REDIS_URL and REDIS_URL_FILE are both given: keep one",
		},
		{
			"api_keys: [a]\n",
			"api_keys is a tenant's own: it belongs below tenants and the tenant's name",
		},
		{
			"tenants: 7\n",
			"FILE:1:10: must be settings",
		},
		{
			"tenants: {}\n",
			"tenants has none",
		},
		{
			"tenants:\n  acme: 7\n",
			"FILE:2:9: must be settings",
		},
		{
			"tenants:\n  Acme: {open: true}\n",
			"FILE:2:3: tenant Acme: a tenant is called \"Acme\": must be 1 to 32 of a-z 0-9 -",
		},
		{
			"tenants:\n  a..b: {open: true}\n",
			"must be 1 to 32",
		},
		{
			"tenants:\n  acme: {open: true}\n  acme: {open: true}\n",
			"FILE:3:3: mapping key \"acme\" already defined",
		},
		{
			tenant + "redis_url: redis://h\n",
			"FILE:4:5: redis_url is a setting of the whole gateway: a tenant can't have its own",
		},
		{
			tenant + "lock_ttl: 5s\n",
			"lock_ttl is a setting of the whole gateway",
		},
		{
			tenant + "inbound_api_keys: [k]\n",
			"inbound_api_keys is a setting of the whole gateway",
		},
		{
			tenant + "result_tll: 5h\n",
			"result_tll is no setting: did you mean result_ttl?",
		},
		{
			tenant + "result_ttl: 5\n",
			"FILE:4:5: tenant acme: RESULT_TTL is \"5\": must be a length of time",
		},
		{
			tenant + "result_ttl: 5s\n",
			"FILE:4:5: tenant acme: RESULT_TTL is 5s: must be at least twice LOCK_TTL",
		},
		{
			tenant + "wait_timeout: 1s\n",
			"FILE:4:5: tenant acme: REDIS_PATIENCE is 5s: must be 0 or more and below WAIT_TIMEOUT (1s)",
		},
		{
			tenant + "upstream: {status_url: http://h}\n",
			"tenant acme: UPSTREAM_STATUS_URL given without a backend",
		},
		{
			tenant + "allow: [10.0.0.300]\n",
			"FILE:4:5: tenant acme: ALLOW is \"10.0.0.300\": must be addresses",
		},
		{
			tenant + "allow: [10.0.0.1/8]\n",
			"10.0.0.1/8 has bits behind its mask: 10.0.0.0/8",
		},
		{
			tenant + "identity: 'header:'\n",
			"IDENTITY is \"header:\"",
		},
		{
			tenant + "identity: json:a[0]\n",
			"IDENTITY is \"json:a[0]\"",
		},
		{
			tenant + "open: true\n",
			"OPEN is true, and it has api_keys or a signature: keep one",
		},
		{
			tenant + "open: perhaps\n",
			"open",
		},
		{
			tenant + "burst: 5\n",
			"BURST is 5 without executions_per_second",
		},
		{
			tenant + "executions_per_second: -1\n",
			"EXECUTIONS_PER_SECOND is -1",
		},
		{
			tenant + "signature: {header: X-S, secret: 0123456789abcdef}\n",
			"SIGNATURE_FORM is \"\": must be one of",
		},
		{
			tenant + "signature: {form: sha256-hex, secret: 0123456789abcdef}\n",
			"SIGNATURE_HEADER is \"\"",
		},
		{
			tenant + "signature: {form: sha256-hex, header: X-S, secret: abc}\n",
			"SIGNATURE_SECRET secret 1 (not shown) must have at least 16 bytes",
		},
		{
			tenant + "signature: {form: sha256-hex, header: X-S}\n",
			"SIGNATURE_SECRET has no secret",
		},
		{
			tenant + "signature: {form: standard-webhooks, header: X-S, secret: 'MDEyMzQ1Njc4OWFiY2RlZg=='}\n",
			"standard-webhooks has headers of its own",
		},
		{
			tenant + "signature: {form: standard-webhooks, secret: '%%%'}\n",
			"must be base64",
		},
		{
			"tenants:\n  acme: {identity: cognigy}\n",
			"it has neither api_keys nor a signature",
		},
		{
			"tenants:\n  acme: {open: true, identity: 'header:X-Id'}\n",
			"an identity from a header needs api_keys, or a signature that covers this header",
		},
		{
			"tenants:\n  a: {api_keys: [one]}\n  b: {api_keys: [two, one]}\n",
			"tenants a and b have one API key (not shown)",
		},
		{
			"inbound_api_keys: [k]\ntenants:\n  a: {api_keys: [one]}\n",
			"INBOUND_API_KEYS is given beside tenants",
		},
	} {
		text, want := c[0], c[1]
		t.Run(text[:min(len(text), 60)], func(t *testing.T) { contains(t, complaint(t, text), want) })
	}
	t.Run("all that is wrong is told at once", func(t *testing.T) {
		said := complaint(t, "lok_ttl: 1\ntenants:\n  a: {opn: true}\n  b: 7\n")
		contains(t, said, "lok_ttl", "opn is no setting", "FILE:4:6")
	})
	t.Run("a file that is not there", func(t *testing.T) {
		contains(t, refused(t, nil, env{"CONFIG": "nowhere.yaml"}),
			"CONFIG is \"nowhere.yaml\": must be a file of settings in YAML (open nowhere.yaml: no such file or directory)")
	})
}

func TestASecretIsNotShownWithItsLine(t *testing.T) {
	for _, text := range []string{
		"redis_url: http://:s3cret@h\n", "redis_pasword: s3cret\n", "redis_password: s3cret\n", "s3cret\n", "- s3cret\n",
		"upstream_url: ftp://h?s3cret\n", "inbound_api_keys: [s3cret é]\n", "inbound_api_keys:\n  - s3cret é\n",
		"lock_ttl: 5s redis_password: s3cret\n", "{lock_ttl: 5, redis_password: s3cret}\n", "upstream: {headers: s3cret}\n",
		"tenants:\n  a:\n    api_keys: [s3cret]\n    signature: {secret: s3cret}\n",
		"tenants:\n  a:\n    api_keys: s3cret\n\t\n", "redis_password: [s3cret\n", "redis_password: |\n  s3cret\n x\n",
		"? s3cret\n: a\n", "redis_password: 's3cret\n", "tenants:\n  a: {api_keys: [s3cret]}\n  b: {api_keys: [s3cret]}\n",
	} {
		if said := complaint(t, text); strings.Contains(said, "s3cret") {
			t.Errorf("of %q it shows\n%s", text, said)
		}
	}
	line := configured(t, "upstream: {url: 'http://h/?k=s3cret', headers: 'X-A: s3cret'}\n"+
		"redis_url: 'redis://u:s3cret@h'\nadmin_token: s3cret0123456789\n"+
		"tenants:\n  a: {api_keys: [s3cret], signature: {form: sha256-hex, header: X-S, secret: s3cret0123456789}}\n", nil)
	settings, err := line.Tenants[0].Settings()
	equal(t, err, nil)
	door := line.Tenants[0].Door
	if shown := fmt.Sprintf("%v %+v %#v", settings, door, door); strings.Contains(shown, "s3cret") {
		t.Errorf("shown: %s", shown)
	}
	contains(t, fmt.Sprint(settings), "{api_keys [hidden]}", "{upstream_url http://h/?[hidden]}",
		"{upstream_headers [hidden]}")

	gateway, err := line.Config.Settings()
	equal(t, err, nil)
	text := fmt.Sprint(gateway)
	contains(t, text, "{redis_url [hidden]}", "{admin_token [hidden]}", "{lock_ttl 20s}")
	for _, of := range []string{"s3cret", "result_ttl", "upstream"} {
		if strings.Contains(text, of) {
			t.Errorf("of the whole gateway it shows %s: %s", of, text)
		}
	}
}

func TestAThousandTenantsAreReadInTime(t *testing.T) {
	var text strings.Builder
	text.WriteString("tenants:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  t%d:\n    api_keys: [key-%d]\n    upstream: {url: 'http://h%d'}\n", i, i, i)
	}
	equal(t, len(configured(t, text.String(), nil).Tenants), 1000)
}

func TestATenantOfALibrarysConfigIsHeldToTheSameRules(t *testing.T) {
	c := config.Default()
	c.Tenants = []config.Tenant{{Name: "Acme", HTTP: c.HTTP, Execution: c.Execution, Upstream: c.Upstream}}
	contains(t, fmt.Sprint(c.Validate()), "tenant Acme: a tenant is called", "it has neither api_keys nor a signature")
	c.Tenants[0].Name, c.Tenants[0].Open = "acme", true
	equal(t, c.Validate(), nil)
}
