package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/record"
)

// setting is a valid value of a setting that is not its default.
var setting = map[string]string{
	"CONFIG": "testdata/comments.yaml", "IDENTITY": "header:x-id", "TRUSTED_PROXIES": "10.0.0.0/8,::1",
	"TLS_CERT": "/run/tls/cert.pem",
	"TLS_KEY":  "/run/tls/key.pem",
	"LISTEN":   "127.0.0.1:9000", "MAX_CONNECTIONS": "0", "MAX_BODY_BYTES": "64KiB", "BODY_MEMORY": "1024MiB",
	"PROCESSING_STATUS": "425", "SHUTDOWN_TIMEOUT": "5s", "DRAIN_DELAY": "1s",
	"LOCK_TTL": "10s", "RESULT_TTL": "24h", "WAIT_TIMEOUT": "14s", "EXECUTION_TIMEOUT": "1m", "MAX_RESULT_BYTES": "2048",
	"SETTLE": "4s", "JOURNAL_BYTES": "1024MiB", "JOURNAL_AGE": "1m", "IN_DOUBT": "stop", "DOUBT_TTL": "800h",
	"REDIS_URL": "rediss://user:s3cret@redis.example:6380/2?addr=other:6380", "REDIS_HOST": "redis.example",
	"REDIS_SENTINEL_USERNAME": "gate", "REDIS_SENTINEL_PASSWORD": "s3cret",
	"REDIS_TLS_CA": "/run/tls/ca.pem", "REDIS_TLS_CERT": "/run/tls/cert.pem", "REDIS_TLS_KEY": "/run/tls/key.pem",
	"REDIS_PORT": "6380", "REDIS_DB": "3", "REDIS_USERNAME": "gate", "REDIS_PASSWORD": "s3cret", "REDIS_TIMEOUT": "500ms",
	"REDIS_PATIENCE": "0s", "KEY_PREFIX": "prod:eu-1", "BUCKETS": "16", "REPLICAS_ACK": "1", "MAX_ATTEMPTS": "5",
	"MAX_EXECUTIONS": "50", "MAX_WAITERS": "0", "METRICS_FLUSH": "250ms", "SWEEP_INTERVAL": "5m",
	"TRAIL": "1000", "TRAIL_FIELDS": "variables.orderId, id",
	"ADMIN_LISTEN": "localhost:9001", "ADMIN_TOKEN": "s3cret-s3cret-s3cret", "ADMIN_HOSTS": "gate.example, 10.0.0.1",
	"LOG_FORMAT": "json", "LOG_LEVEL": "debug", "LOG_EXECUTIONS": "all", "ECHO_DELAY": "2s", "REDIS_RETRIES": "2",
	"RESPONSE_MODE": "passthrough", "INBOUND_API_KEYS": "s3cret-1,s3cret-2",
	"FORWARD_HEADERS": "X-Request-Id, Authorization",
	"REJECTED_TTL":    "10m", "MISMATCH": "reject", "RESULT_KEY_FILE": "/run/secrets/result-keys",
	"UPSTREAM_URL":        "https://backend.example:8443/run?tenant=1",
	"UPSTREAM_STATUS_URL": "http://backend.example/runs/{key}/outcome",
	"UPSTREAM_KEY_HEADER": "X-Key", "UPSTREAM_KEY_FORMAT": "uuid", "UPSTREAM_HEADERS": "X-Api-Key: s3cret\nX-Tenant: 1",
	"UPSTREAM_RESPONSE_HEADERS": "ETag",
	"UPSTREAM_BREAKER_FAILURES": "0", "UPSTREAM_BREAKER_PAUSE": "1m", "UPSTREAM_IDLE_TIMEOUT": "3s",
	"UPSTREAM_OAUTH_TOKEN_URL": "https://login.example/token",
	"UPSTREAM_OAUTH_CLIENT_ID": "gate", "UPSTREAM_OAUTH_CLIENT_SECRET": "s3cret", "UPSTREAM_OAUTH_SCOPES": "run ask",
	"UPSTREAM_TLS_CA": "/run/tls/ca.pem", "UPSTREAM_TLS_CERT": "/run/tls/cert.pem", "UPSTREAM_TLS_KEY": "/run/tls/key.pem",
}

// secrets are the settings that may come from a file, in the order of the help.
var secrets = []string{"INBOUND_API_KEYS", "REDIS_URL", "REDIS_PASSWORD", "REDIS_SENTINEL_PASSWORD", "ADMIN_TOKEN",
	"UPSTREAM_HEADERS", "UPSTREAM_OAUTH_CLIENT_SECRET"}

// backend holds the variables that settings of the backend need beside them.
var backend = env{
	"UPSTREAM_URL": "http://h", "UPSTREAM_OAUTH_TOKEN_URL": "http://h", "UPSTREAM_OAUTH_CLIENT_ID": "i",
	"UPSTREAM_OAUTH_CLIENT_SECRET": "s",
	"UPSTREAM_TLS_CERT":            "c", "UPSTREAM_TLS_KEY": "k",
}

// sentinels holds the variables that settings of Sentinels or TLS need beside them.
var sentinels = env{"REDIS_URL": "rediss://h:26379?master_set=m", "REDIS_TLS_CERT": "c", "REDIS_TLS_KEY": "k"}

// with returns the environment with other variables added or replaced.
func (e env) with(others env) env {
	all := maps.Clone(e)
	maps.Copy(all, others)
	return all
}

// companions returns the variables that a setting needs beside it.
func companions(name string) env {
	switch {
	case strings.HasPrefix(name, "REDIS_SENTINEL_") || strings.HasPrefix(name, "REDIS_TLS_"):
		return maps.Clone(sentinels)
	case strings.HasPrefix(name, "REDIS_") && name != "REDIS_URL", name == "REPLICAS_ACK":
		return env{"REDIS_HOST": "localhost"}
	case strings.HasPrefix(name, "UPSTREAM_"):
		return maps.Clone(backend)
	case name == "TRAIL_FIELDS":
		return env{"TRAIL": "10"}
	case strings.HasPrefix(name, "TLS_"):
		return env{"TLS_CERT": "c", "TLS_KEY": "k"}
	}
	return env{}
}

func TestTheDefaultsAreThoseOfTheContract(t *testing.T) {
	want := config.Config{
		HTTP: config.HTTP{Listen: ":8000", MaxConnections: 25000, MaxBodyBytes: config.MiB, BodyMemory: 256 * config.MiB,
			ProcessingStatus: 409, ShutdownTimeout: 35 * time.Second,
			ResponseMode: "envelope", Identity: "cognigy", ForwardHeaders: "traceparent,tracestate"},
		Execution: config.Execution{
			LockTTL: 20 * time.Second, ResultTTL: time.Hour, WaitTimeout: 7 * time.Second, Timeout: 30 * time.Second,
			MaxResultBytes: config.MiB, Settle: 3 * time.Second, MaxExecutions: 5000, MaxWaiters: 20000,
			JournalBytes: 64 * config.MiB, JournalAge: 3 * time.Minute, RejectedTTL: 5 * time.Minute, Mismatch: "serve",
			InDoubt: "execute", DoubtTTL: 720 * time.Hour,
		},
		Redis:  config.Redis{KeyPrefix: "cognigy", Buckets: 64, Timeout: time.Second, Retries: 3, Patience: 5 * time.Second},
		Upkeep: config.Upkeep{MetricsFlush: time.Second, SweepInterval: time.Minute},
		Log:    config.Log{Format: "text", Level: slog.LevelInfo, Executions: "unusual"},
		Upstream: config.Upstream{
			KeyHeader: "Idempotency-Key", KeyFormat: "hex", ResponseHeaders: "Location,Content-Language", BreakerFailures: 20,
			BreakerPause: 10 * time.Second, IdleTimeout: time.Second,
		},
	}
	got := mustParse(t, nil, nil)
	equal(t, got.Config, want)
	equal(t, got.Command, "serve")
	equal(t, got.Validate(), nil)
	equal(t, config.Default(), want)
}

func TestAConfigOfOnesOwn(t *testing.T) {
	c := config.Default()
	c.Redis.Host = "localhost"
	equal(t, c.Validate(), nil)
	equal(t, c.Redis.Port, config.Port(6379))
	c.Redis.Port, c.Execution.LockTTL = 6380, time.Millisecond
	contains(t, fmt.Sprint(c.Validate()), "LOCK_TTL is 1ms")
	equal(t, c.Redis.Port, config.Port(6380))
}

func TestEverySettingIsAFlagAndTheVariableOfItsName(t *testing.T) {
	for name, value := range setting {
		byDefault := mustParse(t, nil, companions(name))
		byFlag := mustParse(t, []string{flag(name) + "=" + value}, companions(name))
		byVariable := mustParse(t, nil, companions(name).with(env{name: value}))
		equal(t, byFlag.Config, byVariable.Config)
		differ(t, name, byFlag.Config, byDefault.Config)
	}
}

func flag(name string) string { return "--" + strings.ToLower(strings.ReplaceAll(name, "_", "-")) }

func TestLists(t *testing.T) {
	line := mustParse(t, nil, backend.with(env{
		"INBOUND_API_KEYS": " a,b!\n\n~c ,\r\n", "FORWARD_HEADERS": "X-A, ,x-b,", "UPSTREAM_RESPONSE_HEADERS": ",",
		"UPSTREAM_HEADERS":      "\nX-A: 1\r\n  X-B:http://h:1 2\t\nX-A:\n",
		"UPSTREAM_OAUTH_SCOPES": "a b, c:d\n",
	}))
	equal(t, line.HTTP.APIKeys(), []string{"a", "b!", "~c"})
	equal(t, line.HTTP.Forwarded(), []string{"X-A", "x-b"})
	equal(t, len(line.Upstream.KeptHeaders()), 0)
	equal(t, line.Upstream.StaticHeaders(), []record.Header{{Name: "X-A", Value: "1"},
		{Name: "X-B", Value: "http://h:1 2"}, {Name: "X-A"}})
	equal(t, line.Upstream.Scopes(), []string{"a", "b", "c:d"})

	byDefault := config.Default()
	equal(t, len(byDefault.HTTP.APIKeys()), 0)
	equal(t, byDefault.HTTP.Forwarded(), []string{"traceparent", "tracestate"})
	equal(t, byDefault.Upstream.KeptHeaders(), []string{"Location", "Content-Language"})
	equal(t, len(byDefault.Upstream.StaticHeaders())+len(byDefault.Upstream.Scopes()), 0)
}

func TestSecretsStayHidden(t *testing.T) {
	hides := func(t *testing.T, shown ...string) {
		t.Helper()
		for _, text := range shown {
			if strings.Contains(text, "s3cret") {
				t.Errorf("shows the secret: %s", text)
			}
		}
	}
	t.Run("in the help", func(t *testing.T) {
		for _, name := range secrets {
			hides(t, exits(t, []string{flag(name) + "=s3cret", "--help"}, env{name: "s3cret"}))
		}
	})
	t.Run("in the errors", func(t *testing.T) {
		for _, url := range []string{"http://:s3cret@h", "redis://:s3cret@", "redis://:%s3cret@h", "redis://u:s3cret/@h",
			":s3cret@h:1"} {
			hides(t, refused(t, nil, env{"REDIS_URL": url}), refused(t, []string{"--redis-url", url}, nil),
				refused(t, []string{url + "://"}, nil), refused(t, []string{"serve", "redis://" + url}, nil),
				refused(t, nil, env{"REDIS_HOST": url}))
		}
		hides(t, refused(t, nil, env{"REDIS_PASSWORD": "s3cret"}), refused(t, []string{"REDIS_PASSWORD=s3cret"}, nil),
			refused(t, []string{"--redis-password", "-s3cret"}, nil), refused(t, []string{"--redis-pasword=s3cret"}, nil))
		for _, name := range secrets {
			hides(t, refused(t, []string{flag(name), "-s3cret"}, nil), refused(t, []string{flag(name) + "x=s3cret"}, nil),
				refused(t, []string{name + "=s3cret"}, nil), refused(t, []string{strings.ToLower(name) + "=s3cret"}, nil))
		}
		for _, name := range []string{"UPSTREAM_URL", "UPSTREAM_STATUS_URL", "UPSTREAM_OAUTH_TOKEN_URL"} {
			for _, url := range []string{
				"http://u:s3cret@h", "http://u:%s3cret@h", "http://h/?k=s3cret#", "h?s3cret", "http://h/ s3cret", "ftp://h/s3cret",
				"http://h/\ns3cret",
			} {
				hides(t, refused(t, nil, backend.with(env{name: url})), refused(t, []string{flag(name), url}, backend))
			}
		}
		hides(t, refused(t, nil, backend.with(env{"UPSTREAM_STATUS_URL": "http://h/{key}/{key}?k=s3cret"})))
		for _, keys := range []string{"a,s3cret b", "s3crét", "s3cret\x00"} {
			hides(t, refused(t, nil, env{"INBOUND_API_KEYS": keys}))
		}
		for _, lines := range []string{
			"s3cret", "s3cret\nX-A: 1", "X-A: s3cret\x00", "X-A : s3cret", ": s3cret", "Host: s3cret", "Authorization: s3cret",
			"Proxy-s3cret: 1", "X-A: 1\n\ts3cret",
		} {
			hides(t, refused(t, nil, backend.with(env{"UPSTREAM_HEADERS": lines})))
		}
		for _, name := range []string{"FORWARD_HEADERS", "UPSTREAM_RESPONSE_HEADERS", "UPSTREAM_KEY_HEADER"} {
			hides(t, refused(t, nil, env{name: "Authorization: s3cret"}),
				refused(t, nil, env{name: "Proxy-Authorization: s3cret"}))
		}
	})
	t.Run("in print and logs", func(t *testing.T) {
		for _, variables := range []env{
			{"REDIS_URL": "redis://:s3cret@h"}, {"REDIS_HOST": "h", "REDIS_PASSWORD": "s3cret"}, {"INBOUND_API_KEYS": "s3cret"},
			sentinels.with(env{"REDIS_SENTINEL_PASSWORD": "s3cret"}), backend.with(env{"UPSTREAM_HEADERS": "X-A: s3cret"}),
			backend.with(env{"UPSTREAM_OAUTH_CLIENT_SECRET": "s3cret"}),
		} {
			line := mustParse(t, nil, variables)
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("", "config", line.Config, "url", line.Redis.URL)
			slog.New(slog.NewTextHandler(&log, nil)).Info("", "config", line.Config, "password", line.Redis.Password)
			asJSON, err := json.Marshal(line)
			equal(t, err, nil)
			shown := []string{fmt.Sprint(line), fmt.Sprintf("%+v", *line), fmt.Sprintf("%#v", line.Config), string(asJSON),
				log.String()}
			hides(t, shown...)
			contains(t, strings.Join(shown, ""), "[hidden]")
			contains(t, string(line.Redis.URL+line.Redis.Password+line.Redis.SentinelPassword+line.HTTP.InboundAPIKeys+
				line.Upstream.Headers+line.Upstream.OAuthClientSecret), "s3cret")
		}
	})
}

func TestWhereRedisIs(t *testing.T) {
	equal(t, mustParse(t, nil, nil).Redis.Embedded(), true)
	equal(t, mustParse(t, nil, env{"REDIS_URL": "redis://h"}).Redis.Embedded(), false)
	for port, want := range map[string]config.Port{"": 6379, "1": 1, "65535": 65535} {
		r := mustParse(t, nil, env{"REDIS_HOST": "h", "REDIS_PORT": port}).Redis
		equal(t, r.Port, want)
		equal(t, r.Embedded(), false)
	}
}

func TestBytesAreWrittenAsTheyAreRead(t *testing.T) {
	for text, size := range map[string]config.Bytes{"1025": 1025, "64KiB": 64 << 10, "1MiB": 1 << 20, "1025KiB": 1<<20 +
		1<<10} {
		equal(t, mustParse(t, nil, env{"MAX_BODY_BYTES": text}).HTTP.MaxBodyBytes, size)
		equal(t, size.String(), text)
	}
	equal(t, config.Bytes(0).String(), "0")
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func differ(t *testing.T, what string, a, b any) {
	t.Helper()
	if reflect.DeepEqual(a, b) {
		t.Errorf("%s changes nothing", what)
	}
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q\nlacks %q", text, part)
		}
	}
}

func TestByDefaultAFlowOutlivesACrash(t *testing.T) {
	c := config.Default()
	const calls = 4 // that a flow makes for one message (docs/cognigy.md)
	if asks := calls * c.Execution.WaitTimeout; c.Execution.LockTTL+c.Execution.WaitTimeout > asks {
		t.Errorf("a flow asks for %v, and the webhook of a replica that crashed is blocked for %v", asks, c.Execution.LockTTL)
	}
}

func TestByDefaultAShutdownCutsNothingOff(t *testing.T) {
	if c := config.Default(); c.HTTP.ShutdownTimeout < c.DrainNeeds() {
		t.Errorf("it waits for %v, and executions need %v", c.HTTP.ShutdownTimeout, c.DrainNeeds())
	}
}
