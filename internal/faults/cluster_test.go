package faults_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
)

// cluster is a store of three primaries in a Redis Cluster, each with a replica.
type cluster struct {
	t *testing.T
	*redistest.Cluster
}

func startCluster(t *testing.T) *cluster {
	c := &cluster{t, redistest.StartCluster(t, 3, 1)}
	for _, s := range c.Servers {
		c.letReplicate(s)
	}
	return c
}

// letReplicate makes a server replicate under a user of its own, as replicating does.
func (c *cluster) letReplicate(s *redistest.Server) {
	c.At(s, "ACL", "SETUSER", "replica", "on", ">PASSWORD", "~*", "&*", "+@all")
	c.At(s, "CONFIG", "SET", "masterauth", "PASSWORD")
	c.At(s, "CONFIG", "SET", "masteruser", "replica")
}

func (c *cluster) url(int) string               { return c.URL() }
func (c *cluster) admin() string                { return c.URL() }
func (c *cluster) servers() []*redistest.Server { return c.primaries() }

func (c *cluster) faults() []fault {
	return append(append(faultsOfAll(), faultsOfServers()...),
		fault{kind: "failover", part: redis, effect: forgetful, lasts: about(3 * time.Second),
			begin: func(w *world, _ int) { c.failOver(w, 0) }},
		fault{kind: "failover that loses writes", part: redis, effect: forgetful, lasts: about(3700 * time.Millisecond),
			begin: func(w *world, _ int) { c.failOver(w, 700*time.Millisecond) }},
		fault{kind: "primary back without data", part: redis, effect: forgetful, lasts: atOnce,
			begin: func(*world, int) { c.restartEmpty() }},
	)
}

// primaries returns the servers that have slots.
func (c *cluster) primaries() (found []*redistest.Server) {
	for _, s := range c.Servers {
		if strings.Contains(c.At(s, "INFO", "replication"), "role:master") {
			found = append(found, s)
		}
	}
	return found
}

// failOver kills the primary of a key's slot and brings it back as the replica of the promoted one. lockedOut is for
// how long its replica is locked out before.
func (c *cluster) failOver(w *world, lockedOut time.Duration) {
	c.WaitUntilWhole()
	primary := c.PrimaryOf("cognigy:{0}:metrics")
	c.CatchUp(primary) // otherwise an earlier FLUSHALL may be missing on the replica, and its records come back
	if lockedOut > 0 {
		lockOut(w, primary, lockedOut)
	}
	primary.Kill()
	c.PrimaryOf("cognigy:{0}:metrics")
	primary.Restart()
	c.letReplicate(primary)
	c.WaitUntilWhole()
}

// restartEmpty kills a primary and restarts it before the cluster notices.
func (c *cluster) restartEmpty() {
	c.WaitUntilWhole()
	primary := c.PrimaryOf("cognigy:{1}:metrics")
	primary.Kill()
	primary.Restart()
	c.letReplicate(primary)
	c.WaitUntilWhole()
}
