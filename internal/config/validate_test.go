package config_test

import (
	"slices"
	"strings"
	"testing"
)

// rule is a rule of the settings: environments that break it, the error for them, and environments that keep it.
type rule struct {
	name    string
	refused []env
	says    string
	allowed []env
}

func (r rule) holds(t *testing.T) {
	for _, variables := range r.refused {
		contains(t, refused(t, nil, variables), r.says)
	}
	for _, variables := range r.allowed {
		mustParse(t, nil, variables)
	}
}

func TestRules(t *testing.T) {
	for _, rule := range []rule{
		{
			"LISTEN is host:port",
			[]env{{"LISTEN": "8000"}, {"LISTEN": "localhost"}, {"LISTEN": "localhost:"}, {"LISTEN": ":65536"},
				{"LISTEN": "::1:80"}},
			"LISTEN is ",
			[]env{{"LISTEN": ":0"}, {"LISTEN": "[::1]:65535"}, {"LISTEN": "localhost:80"}},
		},
		{
			"who watches comes in by a token, but on loopback",
			[]env{{"ADMIN_LISTEN": ":8001"}, {"ADMIN_LISTEN": "0.0.0.0:8001"}, {"ADMIN_LISTEN": "10.0.0.1:8001"},
				{"ADMIN_LISTEN": "gate.example:8001"}, {"ADMIN_LISTEN": "8001"}, {"ADMIN_LISTEN": "none"}},
			"ADMIN_LISTEN is ",
			[]env{{"ADMIN_LISTEN": "off"}, {"ADMIN_LISTEN": "127.0.0.2:0"}, {"ADMIN_LISTEN": "[::1]:8001"},
				{"ADMIN_LISTEN": "localhost:8001"}, {"ADMIN_LISTEN": ":8001", "ADMIN_TOKEN": "0123456789abcdef"}},
		},
		{
			"such a token cannot be guessed",
			[]env{{"ADMIN_TOKEN": "0123456789abcde"}, {"ADMIN_TOKEN": "0123456789 abcdef"}},
			"ADMIN_TOKEN is not one that we take",
			[]env{{"ADMIN_TOKEN": "0123456789abcdef"}},
		},
		{
			"its names are names",
			[]env{{"ADMIN_HOSTS": "http://gate"}, {"ADMIN_HOSTS": "gate/x"}, {"ADMIN_HOSTS": "a,b c"}},
			"ADMIN_HOSTS has ",
			[]env{{"ADMIN_HOSTS": "Gate.example, 10.0.0.1,::1"}},
		},
		{
			"a body is bounded between 1 KiB and 64 MiB",
			[]env{{"MAX_BODY_BYTES": "1023"}, {"MAX_BODY_BYTES": "67108865"}, {"MAX_BODY_BYTES": "-1KiB"}},
			"MAX_BODY_BYTES is ",
			[]env{{"MAX_BODY_BYTES": "1024"}, {"MAX_BODY_BYTES": "64MiB"}},
		},
		{
			"connections are bounded, by the server at least",
			[]env{{"MAX_CONNECTIONS": "-1"}, {"MAX_CONNECTIONS": "262145"}},
			"MAX_CONNECTIONS is ",
			[]env{{"MAX_CONNECTIONS": "0"}, {"MAX_CONNECTIONS": "1"}, {"MAX_CONNECTIONS": "262144"}},
		},
		{
			"there is memory for one body at least",
			[]env{{"BODY_MEMORY": "1MiB", "MAX_BODY_BYTES": "2MiB"}, {"BODY_MEMORY": "0"}, {"BODY_MEMORY": "65537MiB"}},
			"BODY_MEMORY is ",
			[]env{{"BODY_MEMORY": "2MiB", "MAX_BODY_BYTES": "2MiB"}, {"BODY_MEMORY": "65536MiB"}},
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
			[]env{{"PROCESSING_STATUS": "202"}, {"PROCESSING_STATUS": "425"}, {"PROCESSING_STATUS": "503"},
				{"PROCESSING_STATUS": "409"}},
		},
		{
			"draining lasts up to 10m",
			[]env{{"DRAIN_DELAY": "-1s"}, {"DRAIN_DELAY": "601s"}},
			"DRAIN_DELAY is ",
			[]env{{"DRAIN_DELAY": "0s"}, {"DRAIN_DELAY": "10m"}},
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
			[]env{{"LOCK_TTL": "100ms", "REDIS_TIMEOUT": "10ms"}, {"LOCK_TTL": "24h", "RESULT_TTL": "48h",
				"REJECTED_TTL": "48h"}},
		},
		{
			"a record outlives two leases",
			[]env{{"RESULT_TTL": "39s"}, {"RESULT_TTL": "0s"}},
			"RESULT_TTL is ",
			[]env{{"RESULT_TTL": "40s", "JOURNAL_AGE": "40s"}},
		},
		{
			"the record of a final refusal outlives two leases",
			[]env{{"REJECTED_TTL": "39s", "JOURNAL_AGE": "1s"}, {"REJECTED_TTL": "-1h"}, {"LOCK_TTL": "151s"}},
			"REJECTED_TTL is ",
			[]env{{"REJECTED_TTL": "40s", "JOURNAL_AGE": "40s"}, {"REJECTED_TTL": "0s"}, {"REJECTED_TTL": "1000h"},
				{"LOCK_TTL": "150s"}},
		},
		{
			"a mismatch is served or rejected",
			[]env{{"MISMATCH": "ignore"}, {"MISMATCH": "Serve"}},
			"MISMATCH is ",
			[]env{{"MISMATCH": "serve"}, {"MISMATCH": "reject"}},
		},
		{
			"an answer is an envelope or the result",
			[]env{{"RESPONSE_MODE": "raw"}},
			"RESPONSE_MODE is ",
			[]env{{"RESPONSE_MODE": "envelope"}, {"RESPONSE_MODE": "passthrough"}},
		},
		{
			"keys are printable",
			[]env{{"INBOUND_API_KEYS": "a b"}, {"INBOUND_API_KEYS": "a,é"}, {"INBOUND_API_KEYS": "a\nb\x7f"},
				{"INBOUND_API_KEYS": "a\tb"}},
			"must be printable ASCII without spaces",
			[]env{{"INBOUND_API_KEYS": "a\r\nb"}, {"INBOUND_API_KEYS": "!~"}},
		},
		{
			"keys that are none let nobody in",
			[]env{{"INBOUND_API_KEYS": ","}, {"INBOUND_API_KEYS": " \n"}},
			"INBOUND_API_KEYS holds no key",
			nil,
		},
		{
			"headers are handed on by their names",
			[]env{{"FORWARD_HEADERS": "X-A X-B"}, {"FORWARD_HEADERS": "X-A: 1"}, {"FORWARD_HEADERS": "X-A,X-%"},
				{"FORWARD_HEADERS": "X-Ä"}},
			"FORWARD_HEADERS holds something that is no header's name",
			[]env{{"FORWARD_HEADERS": ","}, {"FORWARD_HEADERS": "X-A,x_b"}},
		},
		{
			"no header is handed on that the gateway writes itself",
			slices.Concat(each("FORWARD_HEADERS", framing...), each("FORWARD_HEADERS", "Idempotency-Key", "Idempotency-Attempt"),
				[]env{{"FORWARD_HEADERS": "x-key", "UPSTREAM_KEY_HEADER": "X-Key"},
					backend.with(env{"FORWARD_HEADERS": "X-A,authorization"})}),
			"FORWARD_HEADERS names ",
			[]env{{"FORWARD_HEADERS": "Authorization,Cookie"}, {"FORWARD_HEADERS": "Idempotency-Key",
				"UPSTREAM_KEY_HEADER": "X-Key"}},
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
				{"REDIS_URL": "redis://h?masterset=m"}, {"REDIS_URL": "rediss://h?skip_verify=true"},
				{"REDIS_URL": "redis://h:1,h:2"},
				{"REDIS_URL": "redis://u:1/2@h"}, {"REDIS_URL": "redis://u:1#2@h"}, {"REDIS_URL": "redis://u:%zz@h"},
			},
			"REDIS_URL is not one that we know",
			[]env{{"REDIS_URL": "redis://h"}, {"REDIS_URL": "redis://h:1/0"}, {"REDIS_URL": "rediss://u:p@h"},
				{"REDIS_URL": "unix:///run/redis.sock?db=1"},
				{"REDIS_URL": "redis://h:1/2?addr=h:2&addr=h:3&master_set=m"}, {"REDIS_URL": "redis://h/?protocol=2"}},
		},
		{
			"who may ask Sentinels is said where there are some",
			eachWith(env{"REDIS_URL": "redis://h"}, "REDIS_SENTINEL_PASSWORD", "p"),
			"REDIS_SENTINEL_PASSWORD given without Sentinels",
			[]env{sentinels.with(env{"REDIS_SENTINEL_USERNAME": "u", "REDIS_SENTINEL_PASSWORD": "p"})},
		},
		{
			"files for TLS are for TLS",
			[]env{
				{"REDIS_URL": "redis://h", "REDIS_TLS_CA": "c"}, {"REDIS_HOST": "h", "REDIS_TLS_CA": "c"}, {"REDIS_TLS_CA": "c"},
				{"REDIS_URL": "unix:///run/redis.sock", "REDIS_TLS_CA": "c"},
			},
			"REDIS_TLS_CA given without TLS",
			[]env{{"REDIS_URL": "rediss://h", "REDIS_TLS_CA": "c"}, sentinels},
		},
		{
			"a certificate for Redis has its key",
			slices.Concat(eachWith(sentinels, "REDIS_TLS_CERT", ""), eachWith(sentinels, "REDIS_TLS_KEY", "")),
			"REDIS_TLS_CERT and REDIS_TLS_KEY belong together",
			nil,
		},
		{
			"a host is a host alone",
			[]env{{"REDIS_HOST": "h:6379"}, {"REDIS_HOST": "redis://h"}, {"REDIS_HOST": "u@h"}},
			"REDIS_HOST is not a host alone",
			[]env{{"REDIS_HOST": "h"}, {"REDIS_HOST": "10.0.0.1"}, {"REDIS_HOST": "fd00::1"}},
		},
		{
			"parts of a host need the host",
			[]env{{"REDIS_PORT": "6379"}, {"REDIS_DB": "1"}, {"REDIS_USERNAME": "u"},
				{"REDIS_URL": "redis://h", "REDIS_PASSWORD": "p"}},
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
			[]env{{"KEY_PREFIX": "a b"}, {"KEY_PREFIX": "{a}"}, {"KEY_PREFIX": "a*"}, {"KEY_PREFIX": strings.Repeat("a", 65)},
				{"KEY_PREFIX": "a\n"}, {"KEY_PREFIX": "a:t:b"}, {"KEY_PREFIX": "a:t"}},
			"KEY_PREFIX is ",
			[]env{{"KEY_PREFIX": "a"}, {"KEY_PREFIX": strings.Repeat("a", 64)}, {"KEY_PREFIX": "A-Z_0.9:x"},
				{"KEY_PREFIX": "a:tt"}},
		},
		{
			"limits are counts",
			[]env{{"MAX_ATTEMPTS": "-1"}, {"MAX_EXECUTIONS": "-1"}, {"MAX_WAITERS": "-1"}},
			"must be 0 (no limit) or more",
			[]env{{"MAX_ATTEMPTS": "1"}, {"MAX_EXECUTIONS": "1"}, {"MAX_WAITERS": "1"}},
		},
		{
			"only a Redis has replicas",
			[]env{{"REPLICAS_ACK": "-1", "REDIS_HOST": "h"}, {"REPLICAS_ACK": "1"}},
			"REPLICAS_ACK is ",
			[]env{{"REPLICAS_ACK": "1", "REDIS_HOST": "h"}},
		},
		{
			"a journal is bounded",
			[]env{{"JOURNAL_BYTES": "-1"}, {"JOURNAL_BYTES": "65537MiB"}},
			"JOURNAL_BYTES is ",
			[]env{{"JOURNAL_BYTES": "0"}, {"JOURNAL_BYTES": "65536MiB"}},
		},
		{
			"what is kept is kept for a while",
			[]env{
				{"JOURNAL_AGE": "0s"}, {"JOURNAL_AGE": "-1s"}, {"JOURNAL_AGE": "301s"}, {"REJECTED_TTL": "1m"},
				{"RESULT_TTL": "1m"}, {"JOURNAL_AGE": "2h", "REJECTED_TTL": "0s"},
			},
			"JOURNAL_AGE is ",
			[]env{{"JOURNAL_AGE": "1ms"}, {"JOURNAL_AGE": "5m"}, {"JOURNAL_AGE": "1h", "REJECTED_TTL": "0s"}},
		},
		{
			"a doubt is executed or stops",
			[]env{{"IN_DOUBT": "ask"}, {"IN_DOUBT": "Stop"}},
			"IN_DOUBT is ",
			[]env{{"IN_DOUBT": "execute"}, {"IN_DOUBT": "stop"}},
		},
		{
			"a doubt is remembered for as long as a result",
			[]env{{"DOUBT_TTL": "59m"}, {"RESULT_TTL": "721h"}},
			"DOUBT_TTL is ",
			[]env{{"DOUBT_TTL": "1h"}, {"RESULT_TTL": "720h"}},
		},
		{
			"where a doubt stops, a deploy makes none",
			[]env{{"IN_DOUBT": "stop", "SHUTDOWN_TIMEOUT": "31s"}, {"IN_DOUBT": "stop", "EXECUTION_TIMEOUT": "34s"}},
			"SHUTDOWN_TIMEOUT is ",
			[]env{{"IN_DOUBT": "stop", "SHUTDOWN_TIMEOUT": "32s"}, {"SHUTDOWN_TIMEOUT": "1s"}},
		},
		{
			"where a doubt stops, a failover does not execute",
			[]env{{"IN_DOUBT": "stop", "SETTLE": "0"}},
			"SETTLE is 0",
			[]env{{"IN_DOUBT": "stop", "SETTLE": "3s"}, {"SETTLE": "0"}},
		},
		{
			"buckets are told apart by a fingerprint's first byte",
			[]env{{"BUCKETS": "0"}, {"BUCKETS": "257"}},
			"BUCKETS is ",
			[]env{{"BUCKETS": "1"}, {"BUCKETS": "256"}},
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
			"executions are logged where they are unusual, all or none",
			[]env{{"LOG_EXECUTIONS": "some"}, {"LOG_EXECUTIONS": "ALL"}},
			"LOG_EXECUTIONS is ",
			[]env{{"LOG_EXECUTIONS": "unusual"}, {"LOG_EXECUTIONS": "all"}, {"LOG_EXECUTIONS": "none"}},
		},
		{
			"echo cannot answer before it is asked",
			[]env{{"ECHO_DELAY": "-1ms"}},
			"ECHO_DELAY is ",
			[]env{{"ECHO_DELAY": "0s"}},
		},
	} {
		t.Run(rule.name, rule.holds)
	}
}

// framing holds headers of one message or one connection, which only the gateway writes.
var framing = []string{
	"Host", "content-length", "Content-Type", "Transfer-Encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade",
	"Expect",
	"Proxy-Authorization", "proxy-connection", "Accept-Encoding", "Content-Encoding",
}

// each returns an environment for each value of a variable.
func each(name string, values ...string) []env { return eachWith(env{}, name, values...) }

func eachWith(others env, name string, values ...string) (all []env) {
	for _, value := range values {
		all = append(all, others.with(env{name: value}))
	}
	return all
}

func TestAllBrokenRulesAreReportedAtOnce(t *testing.T) {
	message := refused(t, nil, env{
		"LISTEN": "nowhere", "LOCK_TTL": "48h", "REDIS_URL": "http://h", "SWEEP_INTERVAL": "1ms", "LOG_FORMAT": "xml",
		"ECHO_DELAY":    "-1s",
		"RESPONSE_MODE": "raw", "MISMATCH": "ignore", "UPSTREAM_TLS_CA": "c", "UPSTREAM_BREAKER_PAUSE": "0s",
	})
	contains(t, message, "LISTEN", "LOCK_TTL", "RESULT_TTL", "REDIS_URL", "SWEEP_INTERVAL", "LOG_FORMAT", "ECHO_DELAY",
		"REJECTED_TTL", "RESPONSE_MODE", "MISMATCH", "UPSTREAM_TLS_CA given", "UPSTREAM_BREAKER_PAUSE")
	equal(t, strings.Count(message, "\n"), 11)
}
