package config_test

import (
	"strings"
	"testing"
)

func TestRules(t *testing.T) {
	for _, rule := range []struct {
		name    string
		refused []env
		says    string
		allowed []env
	}{
		{
			"LISTEN is host:port",
			[]env{{"LISTEN": "8000"}, {"LISTEN": "localhost"}, {"LISTEN": "localhost:"}, {"LISTEN": ":65536"}, {"LISTEN": "::1:80"}},
			"LISTEN is ",
			[]env{{"LISTEN": ":0"}, {"LISTEN": "[::1]:65535"}, {"LISTEN": "localhost:80"}},
		},
		{
			"a body is bounded between 1 KiB and 64 MiB",
			[]env{{"MAX_BODY_BYTES": "1023"}, {"MAX_BODY_BYTES": "67108865"}, {"MAX_BODY_BYTES": "-1KiB"}},
			"MAX_BODY_BYTES is ",
			[]env{{"MAX_BODY_BYTES": "1024"}, {"MAX_BODY_BYTES": "64MiB"}},
		},
		{
			"a result is bounded between 1 KiB and 64 MiB",
			[]env{{"MAX_RESULT_BYTES": "1023"}, {"MAX_RESULT_BYTES": "65MiB"}},
			"MAX_RESULT_BYTES is ",
			[]env{{"MAX_RESULT_BYTES": "1KiB"}, {"MAX_RESULT_BYTES": "67108864"}},
		},
		{
			"still processing has one of four statuses",
			[]env{{"PROCESSING_STATUS": "200"}, {"PROCESSING_STATUS": "500"}},
			"PROCESSING_STATUS is ",
			[]env{{"PROCESSING_STATUS": "202"}, {"PROCESSING_STATUS": "425"}, {"PROCESSING_STATUS": "503"}, {"PROCESSING_STATUS": "409"}},
		},
		{
			"a shutdown waits",
			[]env{{"SHUTDOWN_TIMEOUT": "0s"}, {"SHUTDOWN_TIMEOUT": "-1s"}},
			"SHUTDOWN_TIMEOUT is ",
			[]env{{"SHUTDOWN_TIMEOUT": "1ms"}},
		},
		{
			"a lease lasts 100ms to 24h",
			[]env{{"LOCK_TTL": "99ms", "REDIS_TIMEOUT": "10ms"}, {"LOCK_TTL": "24h1ms", "RESULT_TTL": "72h"}},
			"LOCK_TTL is ",
			[]env{{"LOCK_TTL": "100ms", "REDIS_TIMEOUT": "10ms"}, {"LOCK_TTL": "24h", "RESULT_TTL": "48h"}},
		},
		{
			"a record outlives two leases",
			[]env{{"RESULT_TTL": "119s"}, {"RESULT_TTL": "0s"}},
			"RESULT_TTL is ",
			[]env{{"RESULT_TTL": "120s"}},
		},
		{
			"a caller waits up to 10m",
			[]env{{"WAIT_TIMEOUT": "0s", "REDIS_PATIENCE": "0s"}, {"WAIT_TIMEOUT": "-1s"}, {"WAIT_TIMEOUT": "10m1ms"}},
			"WAIT_TIMEOUT is ",
			[]env{{"WAIT_TIMEOUT": "10m"}, {"WAIT_TIMEOUT": "1ms", "REDIS_PATIENCE": "0s"}},
		},
		{
			"the logic has a deadline",
			[]env{{"EXECUTION_TIMEOUT": "0s"}, {"EXECUTION_TIMEOUT": "-1s"}},
			"EXECUTION_TIMEOUT is ",
			[]env{{"EXECUTION_TIMEOUT": "1ms"}},
		},
		{
			"settling has room for noticing, connecting and putting back",
			[]env{{"SETTLE": "2666ms"}, {"SETTLE": "-1s"}, {"SETTLE": "-1h"}, {"REDIS_TIMEOUT": "1251ms"}},
			"SETTLE is ",
			[]env{{"SETTLE": "2667ms"}, {"SETTLE": "0"}, {"REDIS_TIMEOUT": "1250ms"}},
		},
		{
			"Redis is named once",
			[]env{{"REDIS_URL": "redis://h:1", "REDIS_HOST": "h"}},
			"REDIS_URL and REDIS_HOST are both given",
			nil,
		},
		{
			"a URL is one that we know",
			[]env{
				{"REDIS_URL": "http://h:1"}, {"REDIS_URL": "h:1"}, {"REDIS_URL": "redis://"}, {"REDIS_URL": "unix://"},
				{"REDIS_URL": "redis://u:1/2@h"}, {"REDIS_URL": "redis://u:1#2@h"}, {"REDIS_URL": "redis://u:%zz@h"},
			},
			"REDIS_URL is not one that we know",
			[]env{{"REDIS_URL": "redis://h"}, {"REDIS_URL": "redis://h:1/0"}, {"REDIS_URL": "rediss://u:p@h"}, {"REDIS_URL": "unix:///run/redis.sock?db=1"}},
		},
		{
			"a host is a host alone",
			[]env{{"REDIS_HOST": "h:6379"}, {"REDIS_HOST": "redis://h"}, {"REDIS_HOST": "u@h"}},
			"REDIS_HOST is not a host alone",
			[]env{{"REDIS_HOST": "h"}, {"REDIS_HOST": "10.0.0.1"}, {"REDIS_HOST": "fd00::1"}},
		},
		{
			"parts of a host need the host",
			[]env{{"REDIS_PORT": "6379"}, {"REDIS_DB": "1"}, {"REDIS_USERNAME": "u"}, {"REDIS_URL": "redis://h", "REDIS_PASSWORD": "p"}},
			" given without REDIS_HOST",
			[]env{{"REDIS_HOST": "h", "REDIS_PORT": "1", "REDIS_DB": "1", "REDIS_USERNAME": "u", "REDIS_PASSWORD": "p"}},
		},
		{
			"databases count from 0",
			[]env{{"REDIS_HOST": "h", "REDIS_DB": "-1"}},
			"REDIS_DB is -1",
			[]env{{"REDIS_HOST": "h", "REDIS_DB": "0"}},
		},
		{
			"a key prefix is short and plain",
			[]env{{"KEY_PREFIX": "a b"}, {"KEY_PREFIX": "{a}"}, {"KEY_PREFIX": "a*"}, {"KEY_PREFIX": strings.Repeat("a", 65)}, {"KEY_PREFIX": "a\n"}},
			"KEY_PREFIX is ",
			[]env{{"KEY_PREFIX": "a"}, {"KEY_PREFIX": strings.Repeat("a", 64)}, {"KEY_PREFIX": "A-Z_0.9:x"}},
		},
		{
			"a lease has time for a renewal",
			[]env{{"REDIS_TIMEOUT": "1s", "LOCK_TTL": "3s"}, {"REDIS_TIMEOUT": "0s"}, {"REDIS_TIMEOUT": "-1s"}},
			"REDIS_TIMEOUT is ",
			[]env{{"REDIS_TIMEOUT": "999ms", "LOCK_TTL": "3s"}, {"REDIS_TIMEOUT": "1ms"}},
		},
		{
			"a first connection is tried again a few times",
			[]env{{"REDIS_RETRIES": "-1"}, {"REDIS_RETRIES": "11"}},
			"REDIS_RETRIES is ",
			[]env{{"REDIS_RETRIES": "0"}, {"REDIS_RETRIES": "10"}},
		},
		{
			"patience ends before the caller's",
			[]env{{"REDIS_PATIENCE": "7s"}, {"REDIS_PATIENCE": "-1ms"}},
			"REDIS_PATIENCE is ",
			[]env{{"REDIS_PATIENCE": "6999ms"}, {"REDIS_PATIENCE": "0s"}},
		},
		{
			"counters wait up to 1m",
			[]env{{"METRICS_FLUSH": "0s"}, {"METRICS_FLUSH": "61s"}},
			"METRICS_FLUSH is ",
			[]env{{"METRICS_FLUSH": "1ms"}, {"METRICS_FLUSH": "1m"}},
		},
		{
			"sweeps are a second apart",
			[]env{{"SWEEP_INTERVAL": "999ms"}},
			"SWEEP_INTERVAL is ",
			[]env{{"SWEEP_INTERVAL": "1s"}},
		},
		{
			"logs are text or JSON",
			[]env{{"LOG_FORMAT": "xml"}},
			"LOG_FORMAT is ",
			[]env{{"LOG_FORMAT": "text"}, {"LOG_FORMAT": "json"}},
		},
		{
			"echo cannot answer before it is asked",
			[]env{{"ECHO_DELAY": "-1ms"}},
			"ECHO_DELAY is ",
			[]env{{"ECHO_DELAY": "0s"}},
		},
	} {
		t.Run(rule.name, func(t *testing.T) {
			for _, variables := range rule.refused {
				contains(t, refused(t, nil, variables), rule.says)
			}
			for _, variables := range rule.allowed {
				mustParse(t, nil, variables)
			}
		})
	}
}

func TestAllBrokenRulesAreReportedAtOnce(t *testing.T) {
	message := refused(t, nil, env{
		"LISTEN": "nowhere", "LOCK_TTL": "48h", "REDIS_URL": "http://h", "SWEEP_INTERVAL": "1ms", "LOG_FORMAT": "xml", "ECHO_DELAY": "-1s",
	})
	contains(t, message, "LISTEN", "LOCK_TTL", "RESULT_TTL", "REDIS_URL", "SWEEP_INTERVAL", "LOG_FORMAT", "ECHO_DELAY")
	equal(t, strings.Count(message, "\n"), 6)
}
