package redistest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// Watched is a primary and its replica, with three Sentinels that promote the replica in FailOver.
type Watched struct {
	Primary, Replica *Server
	sentinels        [3]*Server
}

// StartWatched starts all five servers and returns when they know each other. args are for the primary and its replica.
func StartWatched(t testing.TB, args ...string) *Watched {
	t.Helper()
	w := &Watched{Primary: Start(t, args...), Replica: Start(t, args...)}
	// This is no argument of the replica's command line: when the replica is started again, it may be the primary.
	Do(t, Client(t, w.Replica.Addr()), "REPLICAOF", "127.0.0.1", w.Primary.Port())
	w.CatchUp(t)
	for i := range w.sentinels {
		w.sentinels[i] = Start(t, "--sentinel", "monitor", "watched", "127.0.0.1", w.Primary.Port(), "2",
			"--sentinel", "down-after-milliseconds", "watched", strconv.FormatInt(patient.Milliseconds(), 10),
			// Sentinels whose votes were split vote again after twice this time. The default is six minutes.
			"--sentinel", "failover-timeout", "watched", "5000")
	}
	for _, s := range w.sentinels {
		c := Client(t, s.Addr())
		until(t, "the Sentinels know each other and the replica", func() bool {
			set, err := c.Do(t.Context(), c.B().Arbitrary("SENTINEL", "MASTER", "watched").Build()).AsStrMap()
			return err == nil && set["num-other-sentinels"] == "2" && set["num-slaves"] == "1"
		})
	}
	return w
}

// URL returns a REDIS_URL that names the Sentinels. user is "name:password@", or "".
func (w *Watched) URL(user string) string {
	return "redis://" + user + w.sentinels[0].Addr() + "?master_set=watched&addr=" + w.sentinels[1].Addr() + "&addr=" +
		w.sentinels[2].Addr()
}

// How long the primary must be silent before the Sentinels consider it dead. A busy machine may keep it silent for some
// seconds, and must cause no failover that the test has not asked for.
const patient, hasty = 30 * time.Second, time.Second

func (w *Watched) downAfter(t testing.TB, silent time.Duration) {
	t.Helper()
	for _, s := range w.sentinels {
		Do(t, Client(t, s.Addr()), "SENTINEL", "SET", "watched", "down-after-milliseconds",
			strconv.FormatInt(silent.Milliseconds(), 10))
	}
}

// CatchUp waits until the replica has everything that had been written to the primary.
func (w *Watched) CatchUp(t testing.TB) {
	t.Helper()
	catchUp(t, w.Primary, w.Replica)
}

func catchUp(t testing.TB, from, to *Server) {
	t.Helper()
	primary, replica := Client(t, from.Addr()), Client(t, to.Addr())
	written := -1
	until(t, "the replica has caught up", func() bool {
		if replication(t, replica, "master_link_status") != "up" {
			return false
		}
		if written < 0 {
			written = offset(t, primary, "master_repl_offset")
		}
		return written >= 0 && offset(t, replica, "slave_repl_offset") >= written
	})
}

// offset returns a number in INFO replication, or -1 if the server does not answer.
func offset(t testing.TB, c rueidis.Client, field string) int {
	t.Helper()
	n, err := strconv.Atoi(replication(t, c, field))
	if err != nil {
		return -1
	}
	return n
}

// FailOver ends the primary as kill -9 does. It returns when the replica is the primary, and when all Sentinels say so:
// if the old primary came back earlier, there would be two of them.
func (w *Watched) FailOver(t testing.TB) {
	t.Helper()
	replica := Client(t, w.Replica.Addr())
	w.Primary.Kill()
	w.downAfter(t, hasty)
	until(t, "the replica is promoted", func() bool { return replication(t, replica, "role") == "master" })
	for _, s := range w.sentinels {
		sentinel := Client(t, s.Addr())
		until(t, "the Sentinels agree", func() bool {
			return strings.Contains(Do(t, sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "watched"), w.Replica.Port())
		})
	}
	w.downAfter(t, patient)
}

// Attach makes the replica a replica of the primary again, whatever it is now, as Sentinel would do after a while.
func (w *Watched) Attach(t testing.TB) {
	t.Helper()
	replica := Client(t, w.Replica.Addr())
	until(t, "the replica is one", func() bool { // the primary refuses while it loads its data
		attach := replica.B().Arbitrary("REPLICAOF", "127.0.0.1", w.Primary.Port()).Build()
		return replica.Do(t.Context(), attach).Error() == nil
	})
}

// replication returns a field of INFO replication, or "" if the server does not answer: Sentinel closes the connections
// of a server that it promotes.
func replication(t testing.TB, c rueidis.Client, field string) string {
	t.Helper()
	info, _ := c.Do(t.Context(), c.B().Info().Section("replication").Build()).ToString()
	_, rest, _ := strings.Cut(info, "\n"+field+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
