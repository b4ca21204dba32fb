package faults_test

import (
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
)

// watched is a store of a primary and its replica, behind three Sentinels.
type watched struct {
	t *testing.T
	*redistest.Watched
}

// replicating holds the settings of a Redis that replicates under a user of its own, so that its replicas can be locked
// out.
var replicating = []string{"--user", "replica", "on", ">PASSWORD", "~*", "&*", "+@all", "--masteruser", "replica",
	"--masterauth", "PASSWORD", "--repl-diskless-sync-delay", "0"}

func startWatched(t *testing.T) *watched {
	return &watched{t, redistest.StartWatched(t, replicating...)}
}

func (s *watched) url(int) string { return s.URL("") }
func (s *watched) admin() string  { return s.URL("") }

func (s *watched) servers() []*redistest.Server { return []*redistest.Server{s.Primary} }

func (s *watched) faults() []fault {
	return append(append(faultsOfAll(), faultsOfServers()...),
		fault{kind: "failover", part: redis, effect: forgetful, lasts: about(4500 * time.Millisecond),
			begin: func(w *world, _ int) { s.failOver(w, 0) }},
		fault{kind: "failover that loses writes", part: redis, effect: forgetful, lasts: about(5200 * time.Millisecond),
			begin: func(w *world, _ int) { s.failOver(w, 700*time.Millisecond) }},
	)
}

// failOver kills the primary and makes it the replica of the promoted one. lockedOut is for how long its replica is
// locked out before.
func (s *watched) failOver(w *world, lockedOut time.Duration) {
	s.CatchUp(s.t)
	if lockedOut > 0 {
		lockOut(w, s.Primary, lockedOut)
	}
	s.Watched.FailOver(s.t)
	s.Primary.Restart()
	s.Primary, s.Replica = s.Replica, s.Primary
	s.Attach(s.t)
}

// lockOut keeps the replica of a primary from replicating for a while: it misses the writes of that time.
func lockOut(w *world, primary *redistest.Server, lasts time.Duration) {
	command(w, primary, "ACL", "SETUSER", "replica", "off")
	command(w, primary, "CLIENT", "KILL", "TYPE", "replica")
	time.Sleep(lasts)
}
