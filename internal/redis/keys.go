package redis

import (
	"fmt"
	"strings"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// Keys is the only place that knows the names of our keys. All keys of one script call must share a hash slot. So in
// Redis Cluster the fingerprints are spread over buckets, whose names are hash tags. Elsewhere there is one bucket.
type Keys struct {
	prefix  string
	cluster bool
	buckets []Bucket
}

// Bucket is a share of the fingerprints, with their records and the counters of their requests. Its text is the prefix
// of its keys.
type Bucket string

// NewKeys returns the keys of a deployment outside of Redis Cluster. prefix is KEY_PREFIX.
func NewKeys(prefix string) Keys { return Keys{prefix: prefix, buckets: []Bucket{Bucket(prefix)}} }

// NewClusterKeys returns the keys of a deployment in Redis Cluster, with 1 to 256 buckets. All replicas must use the
// same number.
func NewClusterKeys(prefix string, buckets int) Keys {
	k := Keys{prefix: prefix, cluster: true}
	for i := range buckets {
		k.buckets = append(k.buckets, Bucket(fmt.Sprintf("%s:{%d}", prefix, i)))
	}
	return k
}

// Prefix returns KEY_PREFIX.
func (k Keys) Prefix() string { return k.prefix }

// Buckets returns all buckets, at least one.
func (k Keys) Buckets() []Bucket { return k.buckets }

// Index returns the position in Buckets of a fingerprint's bucket.
func (k Keys) Index(f fingerprint.Fingerprint) int { return int(f[0]) % len(k.buckets) }

// Of returns the bucket of a fingerprint.
func (k Keys) Of(f fingerprint.Fingerprint) Bucket { return k.buckets[k.Index(f)] }

// Record returns the key of a fingerprint's record.
func (k Keys) Record(f fingerprint.Fingerprint) string { return k.Of(f).Record(f) }

// Fingerprint returns the fingerprint whose record has this key; ok is false if key is not the key of a record.
func (k Keys) Fingerprint(key string) (f fingerprint.Fingerprint, ok bool) {
	digits := key[strings.LastIndexByte(key, ':')+1:]
	f, err := fingerprint.Parse(digits)
	return f, err == nil && k.Record(f) == key
}

// Records returns the glob pattern of all keys of records, for SCAN.
func (k Keys) Records() string {
	if k.cluster {
		return k.prefix + ":{*}:fp:*"
	}
	return k.prefix + ":fp:*"
}

// Metrics returns the key of the first bucket's metrics hash, which also holds the gauges. Outside of Redis Cluster
// there is no other one.
func (k Keys) Metrics() string { return k.buckets[0].Metrics() }

// Sweeper returns the key of the lease under which one replica sweeps.
func (k Keys) Sweeper() string { return k.prefix + ":sweeper" }

// Unused returns a key that is never written. Commands are tried on it to see whether they are allowed.
func (k Keys) Unused() string { return k.prefix + ":nothing" }

// Probe returns the key that a starting gateway writes to see whether Redis reports changes. It has a TTL.
func (k Keys) Probe() string { return k.prefix + ":probe" }

// Record returns the key of the record of a fingerprint in this bucket.
func (b Bucket) Record(f fingerprint.Fingerprint) string {
	var onStack [128]byte
	return string(b.AppendRecord(onStack[:0], f))
}

// AppendRecord appends the key of the record of a fingerprint in this bucket.
func (b Bucket) AppendRecord(dst []byte, f fingerprint.Fingerprint) []byte {
	return f.AppendHex(append(append(dst, b...), ":fp:"...))
}

// Metrics returns the key of this bucket's counters, a hash.
func (b Bucket) Metrics() string { return string(b) + ":metrics" }

// Forgets returns the key that a person's forget changes, so that replicas which track it learn of one.
func (b Bucket) Forgets() string { return string(b) + ":forgets" }

// Flush returns the key of the number of a process's last counter flush.
func (b Bucket) Flush(process string) string { return string(b) + ":flush:" + process }
