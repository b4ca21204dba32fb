package redis

import (
	"strings"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// Keys is the one place that knows how our keys are called.
type Keys struct {
	prefix string
}

// NewKeys returns the layout under a deployment's prefix ("cognigy" by default).
func NewKeys(prefix string) Keys { return Keys{prefix: prefix} }

// Record is the key of a fingerprint's record.
func (k Keys) Record(f fingerprint.Fingerprint) string { return k.prefix + ":fp:" + f.Hex() }

// Fingerprint reads a record's key back; ok is false where key is not one.
func (k Keys) Fingerprint(key string) (f fingerprint.Fingerprint, ok bool) {
	digits, ok := strings.CutPrefix(key, k.prefix+":fp:")
	if !ok {
		return f, false
	}
	f, err := fingerprint.Parse(digits)
	return f, err == nil
}

// Records is the glob pattern of all record keys, for SCAN.
func (k Keys) Records() string { return k.prefix + ":fp:*" }

// Metrics is the hash of counters and gauges.
func (k Keys) Metrics() string { return k.prefix + ":metrics" }

// Flush is where the number of a process's last counter flush stands.
func (k Keys) Flush(process string) string { return k.prefix + ":flush:" + process }

// Sweeper is the lease under which one replica sweeps.
func (k Keys) Sweeper() string { return k.prefix + ":sweeper" }

// Nothing is a key that nobody writes, for asking whether commands are allowed.
func (k Keys) Nothing() string { return k.prefix + ":nothing" }
