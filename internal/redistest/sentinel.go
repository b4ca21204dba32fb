package redistest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// Watched is a primary and its replica, with three Sentinels that promote the replica when the primary is gone for a
// second.
type Watched struct {
	Primary, Replica *Server
	sentinels        [3]*Server
}

// StartWatched starts all five; args are for the primary and its replica. It returns when all know each other.
func StartWatched(t testing.TB, args ...string) *Watched {
	t.Helper()
	w := &Watched{Primary: Start(t, args...), Replica: Start(t, args...)}
	// Not by an argument: started again, it might be the primary.
	Do(t, Client(t, w.Replica.Addr()), "REPLICAOF", "127.0.0.1", w.Primary.Port())
	w.CatchUp(t)
	for i := range w.sentinels {
		w.sentinels[i] = Start(t, "--sentinel", "monitor", "watched", "127.0.0.1", w.Primary.Port(), "2",
			"--sentinel", "down-after-milliseconds", "watched", "1000",
			// Sentinels whose votes were split vote again after twice that time, which is six minutes by default.
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

// URL is what REDIS_URL would be; user is "name:password@", or nothing.
func (w *Watched) URL(user string) string {
	return "redis://" + user + w.sentinels[0].Addr() + "?master_set=watched&addr=" + w.sentinels[1].Addr() + "&addr=" +
		w.sentinels[2].Addr()
}

// DownAfter makes the Sentinels wait for so long, in place of a second, before they take the primary for dead: a second
// is no longer than they need to connect again.
func (w *Watched) DownAfter(t testing.TB, silent time.Duration) {
	t.Helper()
	for _, s := range w.sentinels {
		Do(t, Client(t, s.Addr()), "SENTINEL", "SET", "watched", "down-after-milliseconds",
			strconv.FormatInt(silent.Milliseconds(), 10))
	}
}

// CatchUp returns when the replica has all that had been written to the primary.
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

// offset is a number of INFO replication, -1 where nobody answers.
func offset(t testing.TB, c rueidis.Client, field string) int {
	t.Helper()
	n, err := strconv.Atoi(replication(t, c, field))
	if err != nil {
		return -1
	}
	return n
}

// FailOver ends the primary as kill -9 does, and returns when the replica is the primary, also to all Sentinels: an old
// primary that came back before would be another one beside it.
func (w *Watched) FailOver(t testing.TB) {
	t.Helper()
	replica := Client(t, w.Replica.Addr())
	w.Primary.Kill()
	until(t, "the replica is promoted", func() bool { return replication(t, replica, "role") == "master" })
	for _, s := range w.sentinels {
		sentinel := Client(t, s.Addr())
		until(t, "the Sentinels agree", func() bool {
			return strings.Contains(Do(t, sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "watched"), w.Replica.Port())
		})
	}
}

// Attach makes the replica one, whatever it was before, as Sentinel would after a while.
func (w *Watched) Attach(t testing.TB) {
	t.Helper()
	replica := Client(t, w.Replica.Addr())
	until(t, "the replica is one", func() bool { // not while it loads its data
		attach := replica.B().Arbitrary("REPLICAOF", "127.0.0.1", w.Primary.Port()).Build()
		return replica.Do(t.Context(), attach).Error() == nil
	})
}

// replication is a field of INFO replication, "" where nobody answers: Sentinel closes the connections of whom it
// promotes.
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
