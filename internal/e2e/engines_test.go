package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/redistest"
)

// userWith creates a user with the documented rules, followed by more rules. It returns the user in the form of a URL.
func userWith(t *testing.T, admin rueidis.Client, rules string) string {
	t.Helper()
	name := fmt.Sprint("user", time.Now().UnixNano())
	words := append(documented(t)[2:], strings.Fields(rules)...) // without --user and the name
	redistest.Do(t, admin, append([]string{"ACL", "SETUSER", name}, words...)...)
	return name + ":PASSWORD@"
}

func TestATrailThatCanNotBeKeptIsRefusedWithTheReason(t *testing.T) {
	s := redistest.Start(t, documented(t)...)
	url := "REDIS_URL=redis://" + userWith(t, redistest.Client(t, s.Addr()), "") + s.Addr()
	if said := refuses(t, url, "TRAIL=100"); !strings.Contains(said, "the trail (TRAIL)") ||
		!strings.Contains(said, "refuses XADD, XRANGE (NOPERM") {
		t.Errorf("it says\n%s", said)
	}
}

func TestARedisThatCanNotServeIsRefusedWithTheReason(t *testing.T) {
	s := redistest.Start(t, documented(t)...)
	admin := redistest.Client(t, s.Addr())
	for rules, says := range map[string]string{
		"-evalsha":               "can't serve: it refuses EVALSHA (NOPERM",
		"-eval":                  "refuses EVAL (NOPERM",
		"-time":                  "refuses TIME (NOPERM",
		"-get":                   "refuses GET (NOPERM",
		"-set":                   "refuses SET (NOPERM",
		"-hget":                  "refuses HGET (NOPERM",
		"-hset":                  "refuses HSET (NOPERM",
		"-hincrby":               "refuses HINCRBY (NOPERM",
		"-set -hset":             "refuses SET, HSET (NOPERM",
		"resetkeys ~other:*":     "refuses EVAL, EVALSHA, GET, SET, HGET, HSET, HINCRBY (NOPERM",
		"resetkeys %R~cognigy:*": "SET, HSET, HINCRBY (NOPERM",
		"-info":                  "it needs INFO inside scripts",
		"-info -client|tracking": "it needs INFO inside scripts",
		"-client|caching -hset":  "refuses HSET (NOPERM",
	} {
		t.Run(rules, func(t *testing.T) {
			if said := refuses(t, "REDIS_URL=redis://"+userWith(t, admin, rules)+s.Addr()); !strings.Contains(said, says) {
				t.Errorf("it says\n%s", said)
			}
		})
	}
	untold := redistest.Start(t, append(documented(t, "-info"), "--replicaof", "127.0.0.1 "+s.Port())...)
	sentinel := redistest.Start(t, "--sentinel", "monitor", "watched", "127.0.0.1", s.Port(), "1")
	for name, c := range map[string]struct{ url, says string }{
		"a database that the user may not choose": {"redis://" + user + s.Addr() + "/1", "'select'"},
		"no INFO at all": {redistest.Start(t, "--rename-command", "INFO", "").URL(),
			"it needs INFO inside scripts"},
		"no EVAL at all": {redistest.Start(t, "--rename-command", "EVAL", "").URL(),
			"refuses EVAL (unknown command"},
		"a replica that does not say so":    {"redis://" + user + untold.Addr(), "refuses SET, HSET, HINCRBY (READONLY"},
		"a Sentinel":                        {sentinel.URL(), "?master_set=NAME"},
		"Sentinels of another set":          {sentinel.URL() + "?master_set=other", "No such master"},
		"a user that may not tell its role": {"redis://" + user + sentinel.Addr() + "?master_set=watched", "'role'"},
	} {
		t.Run(name, func(t *testing.T) {
			if said := refuses(t, "REDIS_URL="+c.url); !saysAtOnce(said, c.says) {
				t.Errorf("it says\n%s", said)
			}
		})
	}
}

func TestARedisThatLacksSomethingIsWarnedOfAndServes(t *testing.T) {
	s := redistest.Start(t)
	admin := redistest.Client(t, s.Addr())
	untracked := `level=WARN msg="this redis reports no changes.* reason=.*`
	broken := `level=WARN msg="a sweep broke off".* error=".*NOPERM.*`
	for name, c := range map[string]struct {
		url  string
		says string
	}{
		"CLIENT TRACKING": {"redis://" + userWith(t, admin, "-client|tracking") + s.Addr(), untracked + "'client|tracking'"},
		"CLIENT CACHING":  {"redis://" + userWith(t, admin, "-client|caching") + s.Addr(), untracked + "'client|caching'"},
		"CLIENT":          {"redis://" + userWith(t, admin, "-client") + s.Addr(), untracked + "'client|tracking'"},
		"other words": {redistest.NewEngine(t, s.Addr()).Says("CLIENT CACHING", "-ERR syntax error").URL(), untracked +
			"syntax error"},
		"only words": {redistest.NewEngine(t, s.Addr()).Says("CLIENT", "+OK").URL(), untracked + "told nothing of a change"},
		"HELLO":      {redistest.Start(t, "--rename-command", "HELLO", "").URL(), untracked + "RESP3"},
		"RESP3":      {s.URL() + "?protocol=2", untracked + "RESP3"},
		"INFO": {"redis://" + userWith(t, admin, "-info") + s.Addr(),
			`level=WARN msg="redis does not show its settings \(INFO\)`},
		"SCAN":     {"redis://" + userWith(t, admin, "-scan") + s.Addr(), broken + "'scan'"},
		"GETRANGE": {"redis://" + userWith(t, admin, "-getrange") + s.Addr(), broken + "'getrange'"},
		"PTTL":     {"redis://" + userWith(t, admin, "-pttl") + s.Addr(), broken + "'pttl'"},
		"PEXPIRE":  {"redis://" + userWith(t, admin, "-pexpire") + s.Addr(), broken + "'pexpire'"},
		"PING":     {"redis://" + userWith(t, admin, "-ping") + s.Addr(), `msg=listening`},
		"noeviction": {redistest.Start(t, "--maxmemory-policy", "volatile-lru").URL(),
			`level=WARN msg="REDIS MAY EVICT RECORDS.* maxmemory_policy=volatile-lru`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := "cognigy:" + strings.ReplaceAll(name, " ", "")
			env := []string{"REDIS_URL=" + c.url, "KEY_PREFIX=" + prefix, "ECHO_DELAY=300ms", "METRICS_FLUSH=50ms", "SETTLE=0",
				"SWEEP_INTERVAL=1s"}
			replicas := startTwo(t, env...)
			all := "redis://" + c.url[strings.LastIndexAny(c.url, "@/")+1:] // as a user that may do everything
			storm(t, replicas, 40, all, "KEY_PREFIX="+prefix)
			for _, r := range replicas { // no result that it keeps in memory may outlive a forget
				for range 3 {
					if a, err := r.send(1); err != nil || a.Status != "cached" {
						t.Errorf("a duplicate gets %+v, %v", a, err)
					}
				}
				if out, err := oncegate(os.Environ(), "forget", "--key-prefix", prefix, "--redis-url", all, "d", "n",
					"--sequence=1").CombinedOutput(); err != nil {
					t.Fatalf("forget: %v: %s", err, out)
				}
				eventually(t, "what was forgotten executes again", func() bool {
					a, err := r.send(1)
					return err == nil && a.Status == "success"
				})
			}
			if name == "PEXPIRE" { // only a record without a TTL needs it
				for key := range strings.FieldsSeq(strings.Trim(redistest.Do(t, admin, "KEYS", prefix+":fp:*"), "[]")) {
					redistest.Do(t, admin, "PERSIST", key)
				}
			}
			says := regexp.MustCompile(c.says)
			eventually(t, "it says "+c.says, func() bool { return says.MatchString(replicas[0].logs() + replicas[1].logs()) })
		})
	}
}

func TestWithoutTrackingWaitersLookTogetherAndAtAPace(t *testing.T) {
	const waiters, runs = 100, 3 * time.Second
	s := redistest.Start(t)
	admin := redistest.Client(t, s.Addr())
	replicas := startTwo(t, "REDIS_URL=redis://"+userWith(t, admin, "-client|tracking")+s.Addr(), "ECHO_DELAY="+
		runs.String(), "SETTLE=0")
	calls := regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`)
	var sent sync.WaitGroup
	for n := range waiters {
		sent.Go(func() {
			if a, err := replicas[n%2].send(1); err != nil || a.code != 200 {
				t.Errorf("answer %+v, %v", a, err)
			}
		})
	}
	sent.Wait()
	n, _ := strconv.Atoi(calls.FindStringSubmatch(redistest.Do(t, admin, "INFO", "commandstats"))[1])
	if most := 2 * int(runs/(50*time.Millisecond)); n < 5 || n > most {
		t.Errorf("%d calls of the script while %d waited for %v; at most %d", n, waiters, runs, most)
	}
}
