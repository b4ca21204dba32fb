package command_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

var update = flag.Bool("update", false, "write what came out to testdata")

const (
	lease = time.Minute
	ttl   = time.Hour

	dialog, node = "d-0001", "n-0001"
	sequence     = 7
)

var (
	keys = redis.NewKeys("cognigy")
	key  = keys.Record(fingerprint.Of([]byte(dialog), []byte(node), sequence))
)

// engine is a Redis with the commands before it.
type engine struct {
	*testing.T
	client rueidis.Client
	mini   *miniredis.Miniredis // or nil
	addr   string
}

// onEach runs a test on miniredis and on a real redis-server.
func onEach(t *testing.T, test func(e *engine)) {
	t.Parallel()
	t.Run("miniredis", func(t *testing.T) { test(onMini(t)) })
	t.Run("redis", func(t *testing.T) { test(onReal(t)) })
}

func onMini(t *testing.T) *engine {
	mini, url := redistest.Embedded(t)
	addr := strings.TrimPrefix(url, "redis://")
	return &engine{T: t, mini: mini, addr: addr, client: redistest.Client(t, addr)}
}

func onReal(t *testing.T) *engine {
	addr := redistest.Start(t).Addr()
	return &engine{T: t, addr: addr, client: redistest.Client(t, addr)}
}

// deployment returns the engine as the commands see it, with a gateway's defaults except for SETTLE.
func (e *engine) deployment() command.Deployment {
	return command.Deployment{
		Client: e.client, Keys: keys, LockTTL: lease, ResultTTL: ttl, RejectedTTL: 5 * time.Minute, DoubtTTL: 720 * time.Hour,
	}
}

// webhook is the webhook whose record the tests plant.
var webhook = command.Webhook{Dialog: dialog, Node: node, Sequence: sequence}

func (e *engine) do(args ...string) string { e.Helper(); return redistest.Do(e.T, e.client, args...) }

func (e *engine) now() time.Time {
	e.Helper()
	parts, err := e.client.Do(context.Background(), e.client.B().Time().Build()).AsIntSlice()
	if err != nil {
		e.Fatalf("TIME: %v", err)
	}
	return time.Unix(parts[0], parts[1]*1000)
}

// plant writes a record; a life of 0 means no TTL.
func (e *engine) plant(key string, r record.Record, life time.Duration) {
	e.Helper()
	args := []string{"SET", key, string(record.Append(nil, r))}
	if life > 0 {
		args = append(args, "PX", strconv.FormatInt(life.Milliseconds(), 10))
	}
	e.do(args...)
}

func (e *engine) recordOf() record.Record {
	e.Helper()
	r, err := record.Parse([]byte(e.do("GET", key)))
	if err != nil {
		e.Fatalf("what stands at the key: %v", err)
	}
	return r
}

// TestMain runs all tests in another time zone: the times on a page must not depend on where the page is read. The zone
// is set before any test starts a server, because a server reads it too.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("elsewhere", 5*60*60)
	os.Exit(m.Run())
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s: it prints\n%s\nwant\n%s", name, text, want)
	}
}
