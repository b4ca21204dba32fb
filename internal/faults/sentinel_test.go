package faults_test

import (
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
)

// watched is a primary and its replica behind three Sentinels.
type watched struct {
	t *testing.T
	*redistest.Watched
}

// replicating are the settings of a Redis whose replicas have a user of their own, so that they can be locked out.
var replicating = []string{"--user", "replica", "on", ">PASSWORD", "~*", "&*", "+@all", "--masteruser", "replica", "--masterauth", "PASSWORD"}

func startWatched(t *testing.T) *watched {
	return &watched{t, redistest.StartWatched(t, replicating...)}
}

func (s *watched) url(int) string               { return s.URL("") }
func (s *watched) admin() string                { return s.URL("") }
func (s *watched) servers() []*redistest.Server { return []*redistest.Server{s.Primary} }

func (s *watched) faults() []fault {
	return append(append(faultsOfAll(), faultsOfServers()...),
		fault{kind: "failover", part: redis, effect: forgetful, lasts: atOnce, begin: func(w *world, _ int) { s.failOver(w, 0) }},
		fault{kind: "failover that loses writes", part: redis, effect: forgetful, lasts: atOnce, begin: func(w *world, _ int) { s.failOver(w, 700*time.Millisecond) }},
		fault{kind: "primary back without data", part: redis, effect: forgetful, lasts: between(20, 300),
			begin: func(*world, int) { s.Primary.Kill() }, end: func(*world, int) { s.Primary.Restart() }},
	)
}

// failOver kills the primary after its replica was locked out for so long, and makes it the replica of the promoted one.
func (s *watched) failOver(w *world, lockedOut time.Duration) {
	s.CatchUp(s.t)
	if lockedOut > 0 {
		lockOut(w, s.Primary, lockedOut)
	}
	s.Watched.FailOver(s.t)
	s.Primary.Restart()
	command(w, s.Primary, "REPLICAOF", "127.0.0.1", s.Replica.Port())
	s.Primary, s.Replica = s.Replica, s.Primary
}

// lockOut keeps a primary's replica from replicating: what is written in that time, the replica will not have.
func lockOut(w *world, primary *redistest.Server, lasts time.Duration) {
	command(w, primary, "ACL", "SETUSER", "replica", "off")
	command(w, primary, "CLIENT", "KILL", "TYPE", "replica")
	time.Sleep(lasts)
}
