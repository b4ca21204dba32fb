package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/config"
)

// setting is a value for a setting that is valid, but not its default.
var setting = map[string]string{
	"LISTEN": "127.0.0.1:9000", "MAX_BODY_BYTES": "64KiB", "PROCESSING_STATUS": "425", "SHUTDOWN_TIMEOUT": "5s",
	"LOCK_TTL": "10s", "RESULT_TTL": "24h", "WAIT_TIMEOUT": "14s", "EXECUTION_TIMEOUT": "1m", "MAX_RESULT_BYTES": "2048",
	"SETTLE": "0", "REDIS_URL": "rediss://user:s3cret@redis.example:6380/2?addr=other:6380", "REDIS_HOST": "redis.example",
	"REDIS_PORT": "6380", "REDIS_DB": "3", "REDIS_USERNAME": "gate", "REDIS_PASSWORD": "s3cret", "REDIS_TIMEOUT": "500ms",
	"REDIS_PATIENCE": "0s", "KEY_PREFIX": "prod:eu-1", "METRICS_FLUSH": "250ms", "SWEEP_INTERVAL": "5m",
	"LOG_FORMAT": "json", "LOG_LEVEL": "debug", "ECHO_DELAY": "2s", "REDIS_RETRIES": "2",
}

func TestTheDefaultsAreThoseOfTheContract(t *testing.T) {
	want := config.Config{
		HTTP: config.HTTP{Listen: ":8000", MaxBodyBytes: config.MiB, ProcessingStatus: 409, ShutdownTimeout: 30 * time.Second},
		Execution: config.Execution{
			LockTTL: time.Minute, ResultTTL: time.Hour, WaitTimeout: 7 * time.Second, Timeout: 30 * time.Second,
			MaxResultBytes: config.MiB, Settle: 3 * time.Second,
		},
		Redis:  config.Redis{KeyPrefix: "cognigy", Timeout: time.Second, Retries: 3, Patience: 5 * time.Second},
		Upkeep: config.Upkeep{MetricsFlush: time.Second, SweepInterval: time.Minute},
		Log:    config.Log{Format: "text", Level: slog.LevelInfo},
	}
	got := mustParse(t, nil, nil)
	equal(t, got.Config, want)
	equal(t, got.Command, "serve")
	equal(t, got.Validate(), nil)
}

func TestEverySettingIsAFlagAndTheVariableOfItsName(t *testing.T) {
	for name, value := range setting {
		var host []string
		if strings.HasPrefix(name, "REDIS_") && name != "REDIS_URL" {
			host = []string{"--redis-host=localhost"}
		}
		flag := "--" + strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		byDefault := mustParse(t, host, nil)
		byFlag := mustParse(t, append(host, flag+"="+value), nil)
		byVariable := mustParse(t, slices.DeleteFunc(host, func(string) bool { return name == "REDIS_HOST" }), env{name: value})
		equal(t, byFlag.Config, byVariable.Config)
		differ(t, name, byFlag.Config, byDefault.Config)
	}
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
		hides(t, exits(t, []string{"--redis-password=s3cret", "--help"}, env{"REDIS_URL": "redis://:s3cret@h"}))
	})
	t.Run("in the errors", func(t *testing.T) {
		for _, url := range []string{"http://:s3cret@h", "redis://:s3cret@", "redis://:%s3cret@h", "redis://u:s3cret/@h", ":s3cret@h:1"} {
			hides(t, refused(t, nil, env{"REDIS_URL": url}), refused(t, []string{"--redis-url", url}, nil),
				refused(t, []string{url + "://"}, nil), refused(t, []string{"serve", "redis://" + url}, nil), refused(t, nil, env{"REDIS_HOST": url}))
		}
		hides(t, refused(t, nil, env{"REDIS_PASSWORD": "s3cret"}), refused(t, []string{"REDIS_PASSWORD=s3cret"}, nil),
			refused(t, []string{"--redis-password", "-s3cret"}, nil), refused(t, []string{"--redis-pasword=s3cret"}, nil))
	})
	t.Run("in print and logs", func(t *testing.T) {
		for _, variables := range []env{{"REDIS_URL": "redis://:s3cret@h"}, {"REDIS_HOST": "h", "REDIS_PASSWORD": "s3cret"}} {
			line := mustParse(t, nil, variables)
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("", "config", line.Config, "url", line.Redis.URL)
			slog.New(slog.NewTextHandler(&log, nil)).Info("", "config", line.Config, "password", line.Redis.Password)
			asJSON, err := json.Marshal(line)
			equal(t, err, nil)
			shown := []string{fmt.Sprint(line), fmt.Sprintf("%+v", *line), fmt.Sprintf("%#v", line.Redis), string(asJSON), log.String()}
			hides(t, shown...)
			contains(t, strings.Join(shown, ""), "[hidden]")
			contains(t, string(line.Redis.URL+line.Redis.Password), "s3cret")
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
	for text, size := range map[string]config.Bytes{"1025": 1025, "64KiB": 64 << 10, "1MiB": 1 << 20, "1025KiB": 1<<20 + 1<<10} {
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
