package redis_test

import (
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

func TestTheLayoutOfKeysInACluster(t *testing.T) {
	keys := redis.NewClusterKeys("cognigy", 64)
	for got, want := range map[string]string{
		keys.Record(seven):          "cognigy:{20}:fp:" + sevenHex, // 0x94 % 64
		keys.Records():              "cognigy:*fp:*",
		keys.Of(seven).Metrics():    "cognigy:{20}:metrics",
		keys.Of(seven).Flush("ABC"): "cognigy:{20}:flush:ABC",
		keys.Metrics():              "cognigy:{0}:metrics",
		keys.Sweeper():              "cognigy:sweeper",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if tenant, f, ok := keys.Parse(keys.Record(seven)); !ok || tenant != "" || f != seven {
		t.Errorf("%s is read as %q, %v, %v", keys.Record(seven), tenant, f, ok)
	}
	for _, other := range []string{"cognigy:{21}:fp:" + sevenHex, "cognigy:fp:" + sevenHex,
		redis.NewClusterKeys("cognigy", 32).Metrics()} {
		if _, f, ok := keys.Parse(other); ok {
			t.Errorf("%q is taken for the record of %v", other, f)
		}
	}
}

func TestAClusterIsFoundOutAndAllReplicasMustAgreeOnItsBuckets(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0)
	c := at(cluster.Servers[1].Addr())
	c.KeyPrefix, c.Buckets = "shop", 8
	store, _ := open(t, c)
	if !store.Tracking || len(store.Keys.Buckets()) != 8 {
		t.Errorf("tracking %v, buckets %v", store.Tracking, store.Keys.Buckets())
	}
	reply := store.Client.Do(t.Context(), store.Client.B().Set().Key(store.Keys.Record(seven)).Value("v").Build())
	if err := reply.Error(); err != nil {
		t.Errorf("SET: %v", err)
	}
	c.Buckets = 16
	if sentence, _ := refused(t, c); !strings.Contains(sentence, "BUCKETS is 16") || !strings.Contains(sentence, "has 8") {
		t.Errorf("%s", sentence)
	}
	if tool, err := redis.Open(t.Context(), c, nil, new(journal).logger()); err != nil || len(tool.Keys.Buckets()) != 8 {
		t.Errorf("a tool: %v", err)
	} else {
		tool.Close()
	}
	c.KeyPrefix = "another"
	if tool, err := redis.Open(t.Context(), c, nil, new(journal).logger()); err != nil {
		t.Errorf("a tool alone: %v", err)
	} else {
		if written := redistest.Do(t, cluster.Client(), "EXISTS", "another:buckets"); written != "0" {
			t.Error("it wrote down a number of buckets")
		}
		tool.Close()
	}
	if store, _ := open(t, c); len(store.Keys.Buckets()) != 16 {
		t.Errorf("buckets %v", store.Keys.Buckets())
	}
}

func TestMetricsOfAllBucketsAreAddedUp(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1)
	keys := redis.NewClusterKeys("cognigy", 8)
	for i, b := range keys.Buckets() {
		redistest.Do(t, cluster.Client(), "HSET", b.Metrics(), "executed", "2", "history",
			string(b)+" "+[]string{"1", "3", "2", "1", "0", "1", "1", "1"}[i])
	}
	redistest.Do(t, cluster.Client(), "HSET", keys.Metrics(), "detection_rate", "0.2500")
	metrics, err := redis.Metrics(t.Context(), cluster.Client(), keys)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{"executed": "16", "history": "cognigy:{1}", "met_at": "3",
		"detection_rate": "0.2500"} {
		if metrics[field] != want {
			t.Errorf("%s is %q, want %q", field, metrics[field], want)
		}
	}
	primaries, err := redis.Primaries(t.Context(), cluster.Client())
	if err != nil || len(primaries) != 3 {
		t.Errorf("primaries %v, %v", primaries, err)
	}
}
