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
	k := Keys{prefix: prefix}
	for i := range buckets {
		k.buckets = append(k.buckets, Bucket(fmt.Sprintf("%s:{%d}", prefix, i)))
	}
	return k
}

// Prefix returns KEY_PREFIX.
func (k Keys) Prefix() string { return k.prefix }

// Buckets returns all buckets, at least one.
func (k Keys) Buckets() []Bucket { return k.buckets }

// Share returns one bucket's part of a total: a whole number, which may be more than an equal part.
func (k Keys) Share(of int) int {
	n := max(len(k.buckets), 1)
	return (of + n - 1) / n
}

// Index returns the position in Buckets of a fingerprint's bucket.
func (k Keys) Index(f fingerprint.Fingerprint) int { return int(f[0]) % len(k.buckets) }

// Of returns the bucket of a fingerprint.
func (k Keys) Of(f fingerprint.Fingerprint) Bucket { return k.buckets[k.Index(f)] }

// Record returns the key of the record of a fingerprint that belongs to no tenant.
func (k Keys) Record(f fingerprint.Fingerprint) string { return k.RecordOf("", f) }

// RecordOf returns the key of the record of a tenant's fingerprint.
func (k Keys) RecordOf(tenant string, f fingerprint.Fingerprint) string {
	return k.Of(f).RecordOf(tenant, f)
}

// Parse reads a record's key; ok is false if key is not one of ours.
func (k Keys) Parse(key string) (tenant string, f fingerprint.Fingerprint, ok bool) {
	before, digits, found := cutLast(key, ofRecord)
	f, err := fingerprint.Parse(digits)
	if !found || err != nil {
		return "", f, false
	}
	if _, name, named := cutLast(before, ofTenant); named {
		tenant = name
	}
	return tenant, f, k.RecordOf(tenant, f) == key
}

// Near reports whether a key that Parse refuses is in the form of this deployment's record keys, perhaps with another
// number of buckets. Other keys belong to another deployment or program.
func (k Keys) Near(key string) bool {
	rest, found := strings.CutPrefix(key, k.prefix)
	if tagged := k.buckets[0] != Bucket(k.prefix); found && tagged {
		if rest, found = strings.CutPrefix(rest, ":{"); found {
			_, rest, found = strings.Cut(rest, "}")
		}
	}
	if tenants, named := strings.CutPrefix(rest, ofTenant); named {
		_, rest, _ = strings.Cut(tenants, ":")
		rest = ":" + rest
	}
	return found && strings.HasPrefix(rest, ofRecord)
}

func cutLast(text, separator string) (before, after string, found bool) {
	if at := strings.LastIndex(text, separator); at >= 0 {
		return text[:at], text[at+len(separator):], true
	}
	return text, "", false
}

// The parts of a key before a fingerprint, and before the name of a tenant.
const (
	ofRecord = ":fp:"
	ofTenant = ":t:"
)

// Records returns a glob pattern for SCAN that all record keys match, with and without a tenant. Other keys may match
// too: Parse refuses them.
func (k Keys) Records() string { return k.prefix + ":*fp:*" }

// Metrics returns the key of the first bucket's metrics hash, which has the gauges too. Outside of Redis Cluster there
// is no other.
func (k Keys) Metrics() string { return k.buckets[0].Metrics() }

// Sweeper returns the key of the lease under which one replica sweeps.
func (k Keys) Sweeper() string { return k.prefix + ":sweeper" }

// Replicas returns the key of the sorted set of the running replicas, by when each wrote last.
func (k Keys) Replicas() string { return k.prefix + ":replicas" }

// Replica returns the key of the line that a replica writes about itself.
func (k Keys) Replica(id string) string { return k.prefix + ":replica:" + id }

// ReplicaDetail returns the key of the line that a replica writes only for viewers who ask for details.
func (k Keys) ReplicaDetail(id string) string { return k.prefix + ":replica:" + id + ":detail" }

// Unused returns a key that is never written. Commands are tried on it to see whether they are allowed.
func (k Keys) Unused() string { return k.prefix + ":nothing" }

// Probe returns the key that a starting gateway writes to see whether Redis reports changes. It has a TTL.
func (k Keys) Probe() string { return k.prefix + ":probe" }

// RecordOf returns the key of the record of a tenant's fingerprint in this bucket.
func (b Bucket) RecordOf(tenant string, f fingerprint.Fingerprint) string {
	var onStack [192]byte
	return string(b.AppendRecord(onStack[:0], tenant, f))
}

// AppendRecord appends the key of the record of a tenant's fingerprint in this bucket.
func (b Bucket) AppendRecord(dst []byte, tenant string, f fingerprint.Fingerprint) []byte {
	dst = append(dst, b...)
	if tenant != "" {
		dst = append(append(dst, ofTenant...), tenant...)
	}
	return f.AppendHex(append(dst, ofRecord...))
}

// Tokens returns the key that holds how many executions a tenant may still begin in this bucket.
func (b Bucket) Tokens(tenant string) string { return string(b) + ofTenant + tenant + ":tokens" }

// Trail returns the key of the stream of the transitions in this bucket.
func (b Bucket) Trail() string { return string(b) + ":trail" }

// Metrics returns the key of the hash of counters.
func (b Bucket) Metrics() string { return string(b) + ":metrics" }

// Forgets returns the key that a person's forget changes, so that replicas which track it learn of one.
func (b Bucket) Forgets() string { return string(b) + ":forgets" }

// Flush returns the key of the number of a process's last counter flush.
func (b Bucket) Flush(process string) string { return string(b) + ":flush:" + process }
