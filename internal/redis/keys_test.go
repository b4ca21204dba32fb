package redis_test

import (
	"path"
	"testing"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redis"
)

var seven = fingerprint.Of([]byte("d-0001"), []byte("n-0001"), 7)

const sevenHex = "9443ee322c40418bfa7ef17b52766d02d4845f338545d08261d02319a3d397a5"

// The names of keys are a promise: people look into Redis by them, and replicas of two versions share them.
func TestTheLayoutOfKeys(t *testing.T) {
	for _, prefix := range []string{"cognigy", "shop:eu"} {
		keys := redis.NewKeys(prefix)
		for got, want := range map[string]string{
			keys.Record(seven):                prefix + ":fp:" + sevenHex,
			keys.Records():                    prefix + ":*fp:*",
			keys.Metrics():                    prefix + ":metrics",
			keys.Buckets()[0].Flush("ABC123"): prefix + ":flush:ABC123",
			keys.Sweeper():                    prefix + ":sweeper",
			keys.Unused():                     prefix + ":nothing",
		} {
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		if tenant, f, ok := keys.Parse(keys.Record(seven)); !ok || tenant != "" || f != seven {
			t.Errorf("%s is read as %q, %v, %v", keys.Record(seven), tenant, f, ok)
		}
		for _, other := range []string{
			"", prefix, prefix + ":fp:", prefix + ":fp:" + sevenHex[1:], prefix + ":fp:" + sevenHex + "0",
			"x" + keys.Record(seven),
			"other:fp:" + sevenHex, sevenHex, keys.Metrics(), keys.Sweeper(), keys.Buckets()[0].Flush(sevenHex),
		} {
			if _, f, ok := keys.Parse(other); ok {
				t.Errorf("%q is taken for the record of %v", other, f)
			}
		}
	}
}

func TestRecordsMatchThePatternOfRecordsAndOnlyOursAreReadAsSuch(t *testing.T) {
	keys := redis.NewKeys("cognigy")
	for key, want := range map[string]bool{
		keys.Record(seven): true, keys.Metrics(): false, keys.Sweeper(): false, keys.Buckets()[0].Flush("fp"): false,
		redis.NewKeys("cognigy:eu").Record(seven): false, keys.RecordOf("acme", seven): true,
		redis.NewKeys("cognigy:eu").RecordOf("acme", seven): false, keys.Buckets()[0].Tokens("acme"): false,
		redis.NewClusterKeys("cognigy", 64).RecordOf("acme", seven): false,
	} {
		matches, err := path.Match(keys.Records(), key)
		if err != nil || want && !matches {
			t.Errorf("%s: %v, %v", key, matches, err)
		}
		tenant, f, ours := keys.Parse(key)
		if ours != want || ours && (f != seven || keys.RecordOf(tenant, f) != key) {
			t.Errorf("%s is read as %q, %v, %v", key, tenant, f, ours)
		}
	}
}

func TestAKeyNearThoseOfRecordsIsToldFromAnothers(t *testing.T) {
	one, many := redis.NewKeys("shop"), redis.NewClusterKeys("shop", 4)
	for key, near := range map[string][2]bool{
		"shop:fp:x": {true, false}, "shop:t:acme:fp:x": {true, false}, "shop:t:fp:fp:": {true, false},
		"shop:{9}:fp:x": {false, true}, "shop:{0}:t:acme:fp:x": {false, true},
		"shop:eu:fp:x": {}, "other:fp:x": {}, "shop:t:fp:tokens": {}, "shop:t:acmefp:tokens": {}, "shop:{0}:t:fp:tokens": {},
		"shop:metrics": {}, "shop:{0:fp:x": {},
	} {
		if one.Near(key) != near[0] || many.Near(key) != near[1] {
			t.Errorf("%s: %v, in Redis Cluster %v, want %v", key, one.Near(key), many.Near(key), near)
		}
	}
}
