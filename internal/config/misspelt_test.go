package config_test

import (
	"testing"

	"github.com/oncegate/oncegate/internal/config"
)

func TestAVariableThatIsNearlyOneOfOursIsFound(t *testing.T) {
	for given, meant := range map[string]string{
		"EXECUTION_TIMOUT": "EXECUTION_TIMEOUT", "EXECUTOIN_TIMEOUT": "EXECUTION_TIMEOUT",
		"EXECUTIONS_TIMEOUTS": "EXECUTION_TIMEOUT",
		"LOCKTTL":             "LOCK_TTL", "LOCK_TTLS": "LOCK_TTL", "lock_ttl": "LOCK_TTL", "Lock_Ttl": "LOCK_TTL",
		"REDIS_URI":       "REDIS_URL",
		"INBOUND_API_KEY": "INBOUND_API_KEYS", "INBOUND_API_KEY_FILE": "INBOUND_API_KEYS_FILE",
		"UPSTREAM-URL": "UPSTREAM_URL",
		"SETLE":        "SETTLE", "LOKC_TTL": "LOCK_TTL", "MAX_EXECUTION": "MAX_EXECUTIONS",
	} {
		found, err := config.Misspellings([]string{"PATH=/bin", given + "=secret=x"})
		if err != nil || len(found) != 1 || found[0] != (config.Misspelt{Given: given, Meant: meant}) {
			t.Errorf("%s: %v, %v", given, found, err)
		}
	}
}

func TestOthersVariablesAreTheirs(t *testing.T) {
	found, err := config.Misspellings([]string{
		"PATH=/bin", "HOME=/root", "HOSTNAME=h", "LANG=C", "TERM=xterm", "PWD=/", "SHLVL=1", "GOMEMLIMIT=1GiB",
		"HTTP_PROXY=p", "NO_PROXY=p", "TZ=UTC",
		"REDIS_PORT_6379_TCP=tcp://10.0.0.1:6379", "REDIS_PORT_6379_TCP_ADDR=10.0.0.1", "REDIS_SERVICE_HOST=10.0.0.1",
		"REDIS_SERVICE_PORT=6379",
		"LISTEN_FDS=1", "LISTEN_PID=1", "LISTENER=x", "VERSION=1", "FORCE=1", "LOGNAME=x", "LOG_DIR=x", "REDIS_DSN=x", "DB=x",
		"UPSTREAM=x",
		"LOCK_TTL=60s", "REDIS_PASSWORD_FILE=/run/secrets/p", "MISMATCH=reject", "EXECUTION_TIMOUT=",
	})
	if err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}
