package redis

import (
	"fmt"
	"strings"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// Keys is the one place that knows how our keys are called. A script call's keys share one hash slot: in Redis Cluster
// the fingerprints are spread over buckets, whose names are hash tags. Elsewhere one bucket has them all.
type Keys struct {
	prefix  string
	cluster bool
	buckets []Bucket
}

// Bucket is a share of the fingerprints: their records, and the counters of their requests.
type Bucket string

// NewKeys returns the layout under a deployment's prefix ("cognigy" by default) outside of Redis Cluster.
func NewKeys(prefix string) Keys { return Keys{prefix: prefix, buckets: []Bucket{Bucket(prefix)}} }

// NewClusterKeys returns the layout in Redis Cluster, with 1 to 256 buckets. All replicas must have as many.
func NewClusterKeys(prefix string, buckets int) Keys {
	k := Keys{prefix: prefix, cluster: true}
	for i := range buckets {
		k.buckets = append(k.buckets, Bucket(fmt.Sprintf("%s:{%d}", prefix, i)))
	}
	return k
}

// Prefix is the deployment's, KEY_PREFIX.
func (k Keys) Prefix() string { return k.prefix }

// Buckets are all there are, at least one.
func (k Keys) Buckets() []Bucket { return k.buckets }

// Index says in which of them a fingerprint is.
func (k Keys) Index(f fingerprint.Fingerprint) int { return int(f[0]) % len(k.buckets) }

// Of returns a fingerprint's bucket.
func (k Keys) Of(f fingerprint.Fingerprint) Bucket { return k.buckets[k.Index(f)] }

// Record is the key of a fingerprint's record.
func (k Keys) Record(f fingerprint.Fingerprint) string { return k.Of(f).Record(f) }

// Fingerprint reads a record's key back; ok is false where key is not one.
func (k Keys) Fingerprint(key string) (f fingerprint.Fingerprint, ok bool) {
	digits := key[strings.LastIndexByte(key, ':')+1:]
	f, err := fingerprint.Parse(digits)
	return f, err == nil && k.Record(f) == key
}

// Records is the glob pattern of all record keys, for SCAN.
func (k Keys) Records() string {
	if k.cluster {
		return k.prefix + ":{*}:fp:*"
	}
	return k.prefix + ":fp:*"
}

// Metrics is the first bucket's metrics hash, which has the gauges too. Outside of Redis Cluster there is no other.
func (k Keys) Metrics() string { return k.buckets[0].Metrics() }

// Sweeper is the lease under which one replica sweeps.
func (k Keys) Sweeper() string { return k.prefix + ":sweeper" }

// Unused is a key that nobody writes, for asking whether commands are allowed.
func (k Keys) Unused() string { return k.prefix + ":nothing" }

// Probe is what a starting gateway writes to see whether changes are told; it ends by itself.
func (k Keys) Probe() string { return k.prefix + ":probe" }

// Record is the key of the record of a fingerprint in this bucket.
func (b Bucket) Record(f fingerprint.Fingerprint) string {
	var onStack [128]byte
	key := append(onStack[:0], b...)
	return string(f.AppendHex(append(key, ":fp:"...)))
}

// Metrics is the hash of counters.
func (b Bucket) Metrics() string { return string(b) + ":metrics" }

// Flush is where the number of a process's last counter flush stands.
func (b Bucket) Flush(process string) string { return string(b) + ":flush:" + process }
