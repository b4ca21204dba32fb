package redistest

import (
	"cmp"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// cli is the command line client: redis-cli, or the program that REDIS_CLI names.
var cli = cmp.Or(os.Getenv("REDIS_CLI"), "redis-cli")

// Cluster is a Redis Cluster on loopback.
type Cluster struct {
	t       testing.TB
	Servers []*Server
	client  rueidis.Client
}

// nodeTimeout is the number of milliseconds without an answer after which the cluster's servers consider one of them
// dead.
const nodeTimeout = "1000"

// StartCluster starts a cluster of this many primaries, each with this many replicas, and returns when all of them
// serve.
func StartCluster(t testing.TB, primaries, replicas int) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	create := []string{"--cluster", "create"}
	for range primaries * (1 + replicas) {
		create = append(create, c.Start().Addr())
	}
	c.Cli(append(create, "--cluster-replicas", strconv.Itoa(replicas), "--cluster-yes")...)
	c.client = clusterClient(t, c.Servers[0].Addr())
	c.WaitUntilWhole()
	return c
}

func clusterClient(t testing.TB, addr string) rueidis.Client {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		t.Fatalf("client of the cluster at %s: %v", addr, err)
	}
	t.Cleanup(client.Close)
	return client
}

// Start starts another server, which does not belong to the cluster yet.
func (c *Cluster) Start() *Server {
	c.t.Helper()
	var bus, of string // another program may take the port of the bus too; a restart keeps both
	s := start(c.t, "redis", func(port string) []string {
		if port != of {
			bus, of = freePort(c.t), port
		}
		return []string{
			"--port", port, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", nodeTimeout,
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
		}
	})
	c.Servers = append(c.Servers, s)
	return s
}

// URL returns a REDIS_URL for the cluster.
func (c *Cluster) URL() string { return c.Servers[0].URL() }

// Client returns a plain client, without a cache.
func (c *Cluster) Client() rueidis.Client { return c.client }

// Cli runs the command line client and returns what it printed.
func (c *Cluster) Cli(args ...string) string {
	c.t.Helper()
	out, err := exec.Command(cli, args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s", cli, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// At runs a command on one server and returns what it printed.
func (c *Cluster) At(s *Server, args ...string) string {
	c.t.Helper()
	return strings.TrimSpace(c.Cli(append([]string{"-p", s.port}, args...)...))
}

// WaitUntilWhole waits until every living server sees a whole cluster, and every replica its primary.
func (c *Cluster) WaitUntilWhole() {
	c.t.Helper()
	c.until("the cluster is whole", func() bool {
		for _, s := range c.Servers {
			if s.process == nil {
				continue
			}
			if !strings.Contains(c.At(s, "CLUSTER", "INFO"), "cluster_state:ok") {
				return false
			}
			if role := c.At(s, "INFO", "replication"); strings.Contains(role, "role:slave") &&
				!strings.Contains(role, "master_link_status:up") {
				return false
			}
		}
		return true
	})
}

// CatchUp waits until the replicas of a primary have everything that had been written to it.
func (c *Cluster) CatchUp(primary *Server) {
	c.t.Helper()
	for _, s := range c.Servers {
		if s.process != nil && replication(c.t, Client(c.t, s.Addr()), "master_port") == primary.port {
			catchUp(c.t, primary, s)
		}
	}
}

// PrimaryOf returns the living server that serves a key's slot.
func (c *Cluster) PrimaryOf(key string) *Server {
	c.t.Helper()
	var found *Server
	c.until("a primary has "+key, func() bool {
		for _, s := range c.Servers {
			if s.process != nil && c.serves(s, key) {
				found = s
			}
		}
		return found != nil
	})
	return found
}

func (c *Cluster) serves(s *Server, key string) bool {
	return !strings.Contains(c.At(s, "EXISTS", key), "MOVED") && strings.Contains(c.At(s, "INFO", "replication"),
		"role:master")
}

func (c *Cluster) until(what string, holds func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("never: %s", what)
		}
	}
}
