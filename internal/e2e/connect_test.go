package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/tlstest"
)

// user is the user of docs/redis.md, in the form of a URL.
const user = "oncegate:PASSWORD@"

var aclLine = regexp.MustCompile(`(?m)^ACL SETUSER (oncegate .+)$`)

// documented returns the rules of the gateway's user in docs/redis.md, as arguments of redis-server, followed by more.
func documented(t *testing.T, more ...string) []string {
	t.Helper()
	return append(documentedUsers(t)[0], more...)
}

// documentedUsers returns the rules of the users of Redis and of the Sentinels.
func documentedUsers(t *testing.T) (users [2][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := aclLine.FindAllSubmatch(text, -1)
	if len(lines) != len(users) {
		t.Fatalf("docs/redis.md has %d ACL lines, not %d", len(lines), len(users))
	}
	for i, line := range lines {
		users[i] = append([]string{"--user"}, strings.Fields(string(line[1]))...)
	}
	return users
}

// startTwo starts two replicas of the gateway.
func startTwo(t *testing.T, env ...string) []*replica {
	t.Helper()
	return []*replica{start(t, env...), start(t, env...)}
}

func TestEachWayToARedisServesUnderTheDocumentedUser(t *testing.T) {
	a := tlstest.NewAuthority(t)
	a.Issue("client")
	files := []string{"REDIS_TLS_CA=" + a.Path("ca.crt"), "REDIS_TLS_CERT=" + a.Path("client.crt"), "REDIS_TLS_KEY=" +
		a.Path("client.key")}
	socket := filepath.Join(t.TempDir(), "redis.sock")
	plain := redistest.Start(t, append(documented(t, "+select", "+hgetall", "+type"), "--unixsocket", socket)...)
	secured := redistest.StartTLS(t, a, documented(t, "+role", "+hgetall")...)
	sentinel := redistest.StartTLS(t, a, append(documentedUsers(t)[1], "--user", "default", "off",
		"--sentinel", "monitor", "watched", "127.0.0.1", secured.Port(), "1")...)
	admin := redistest.Client(t, plain.Addr())
	t.Cleanup(func() { // after all subtests
		if denied := redistest.Do(t, admin, "ACL", "LOG"); denied != "[]" {
			t.Errorf("it tried what it may not: %s", denied)
		}
	})
	for name, c := range map[string]struct {
		url string
		env []string
	}{
		"redis":    {"redis://" + user + plain.Addr(), nil},
		"database": {"redis://" + user + plain.Addr() + "/1", nil},
		"socket":   {"unix://" + user + socket + "?db=2", nil},
		"TLS":      {"rediss://" + user + secured.Addr(), append(files, "KEY_PREFIX=cognigy:tls")},
		"Sentinel": {"rediss://" + user + sentinel.Addr() + "?master_set=watched",
			append(files, "KEY_PREFIX=cognigy:sentinel", "REDIS_SENTINEL_USERNAME=oncegate",
				"REDIS_SENTINEL_PASSWORD=PASSWORD")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := append([]string{
				"REDIS_URL=" + c.url, "ECHO_DELAY=300ms", "METRICS_FLUSH=50ms", "SETTLE=1800ms", "REDIS_TIMEOUT=300ms",
				"SWEEP_INTERVAL=1s",
				"MAX_WAITERS=100", // so that a machine with few descriptors causes no warning
			}, c.env...)
			replicas := startTwo(t, env...)
			storm(t, replicas, 40, c.url, c.env...)
			eventually(t, "the gauges are swept", func() bool {
				return metrics(t, c.url,
					c.env...)["active_fingerprints"] == 1.
			})
			command := oncegate(append(os.Environ(), c.env...), "forget", "--redis-url", c.url, "d", "n", "--sequence=1")
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("forget: %v: %s", err, out)
			}
			for _, r := range replicas {
				if logs := r.logs(); strings.Count(logs, "level=WARN") != 1 || !strings.Contains(logs, "THE LOGIC IS ECHO") {
					t.Errorf("it warns:\n%s", logs)
				}
			}
		})
	}
}

func TestARedisThatCanNotBeTrustedIsSaidAtOnce(t *testing.T) {
	a, other := tlstest.NewAuthority(t), tlstest.NewAuthority(t)
	a.Issue("client")
	url := redistest.StartTLS(t, a).URL()
	for name, c := range map[string]struct {
		env  []string
		says string
	}{
		"an authority that nobody knows": {nil, "unknown authority"},
		"another authority":              {[]string{"REDIS_TLS_CA=" + other.Path("ca.crt")}, "unknown authority"},
		"no certificate of ours": {[]string{"REDIS_TLS_CA=" + a.Path("ca.crt"), "REDIS_RETRIES=0"},
			"can't be reached"},
		"no such file": {[]string{"REDIS_TLS_CA=absent.crt"}, "absent.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			if said := refuses(t, append(c.env, "REDIS_URL="+url)...); !saysAtOnce(said, c.says) {
				t.Errorf("it says\n%s", said)
			}
		})
	}
}

// saysAtOnce reports whether lines say something, and none of these says that the gateway tries again because of it. It
// may have tried again because a connection took too long, on a busy machine.
func saysAtOnce(lines, what string) (says bool) {
	for line := range strings.Lines(lines) {
		if strings.Contains(line, what) {
			if strings.Contains(line, "again_in") {
				return false
			}
			says = true
		}
	}
	return says
}

// refuses returns the output of a gateway that must not start.
func refuses(t *testing.T, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program)
	command.Env = append([]string{"LISTEN=127.0.0.1:0", "ADMIN_LISTEN=off", hurry}, env...)
	out, _ := command.CombinedOutput()
	if code := command.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit status %d", code)
	}
	return string(out)
}
