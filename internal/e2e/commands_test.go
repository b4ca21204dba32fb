package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/oncegate/oncegate/internal/redistest"
)

// types runs a command of the program as a person does, with the gateway's settings and with text on standard input.
func types(t *testing.T, env []string, input string, args ...string) (said string, code int) {
	t.Helper()
	command := oncegate(env, args...)
	command.Stdin = strings.NewReader(input)
	out, _ := command.CombinedOutput()
	return string(out), command.ProcessState.ExitCode()
}

// says runs a command that must succeed and print something.
func says(t *testing.T, env []string, input, want string, args ...string) (said string) {
	t.Helper()
	said, code := types(t, env, input, args...)
	if code != 0 || !strings.Contains(strings.Join(strings.Fields(said), " "), want) {
		t.Fatalf("%v: exit status %d, it says\n%s\nwant %q", args, code, said, want)
	}
	return said
}

// refusesTo runs a command that must fail and say why.
func refusesTo(t *testing.T, env []string, input string, code int, why string, args ...string) {
	t.Helper()
	if said, got := types(t, env, input, args...); got != code || !strings.Contains(said, why) {
		t.Errorf("%v: exit status %d, it says\n%s\nwant %d, %q", args, got, said, code, why)
	}
}

var named = regexp.MustCompile(`cognigy:fp:[0-9a-f]{64}`)

// TestWhatAPersonDoesAboutAWebhookInDoubt goes through all of it, after a replica was killed during an execution.
func TestWhatAPersonDoesAboutAWebhookInDoubt(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).URL()
	env := []string{
		"REDIS_URL=" + redis, "LOCK_TTL=6s", "REDIS_TIMEOUT=1s", "SETTLE=3s", "METRICS_FLUSH=50ms", "IN_DOUBT=stop",
		"EXECUTION_TIMEOUT=1m", "SHUTDOWN_TIMEOUT=70s", "WAIT_TIMEOUT=30s", "PATH=" + os.Getenv("PATH"),
	}
	dies, stands := start(t, append(env, "ECHO_DELAY=1m")...), start(t, env...)
	says(t, env, "", "No webhook is doubtful.", "doubtful")
	for sequence := range 3 {
		go func() { _, _ = dies.send(sequence) }()
	}
	eventually(t, "all are executed", func() bool { return metrics(t, redis)["executed"] == 3. })
	says(t, env, "", "state running next delivery waits for the outcome", "inspect", "d", "n", "--sequence=0")
	dies.signal(syscall.SIGKILL)
	eventually(t, "its leases end", func() bool {
		said, _ := types(t, env, "", "inspect", "d", "n", "--sequence=2")
		return strings.Contains(said, "crashed")
	})
	says(t, env, "",
		`next delivery 500 "doubtful", and each one after it, until a person decides: IN_DOUBT is stop`, "inspect",
		"d", "n", "--sequence=0")
	listed := says(t, env, "", "doubtful, as the first one", "doubtful")
	if n := strings.Count(listed, "cognigy:fp:"); n != 3 {
		t.Errorf("it lists %d:\n%s", n, listed)
	}
	// A crashed execution never reported its end.
	refusesTo(t, env, "", 1, "it is being executed", "forget", "d", "n", "--sequence=0")
	for sequence := range 3 {
		if a, err := stands.send(sequence); err != nil || a.code != 500 || a.Status != "doubtful" {
			t.Errorf("the next delivery gets %+v, %v", a, err)
		}
	}
	says(t, env, "", "state doubtful: nobody knows whether it was done", "inspect", "d", "n", "--sequence=1")

	name := named.FindString(says(t, env, "", "doubtful", "inspect", "d", "n", "--sequence=0"))
	refusesTo(t, env, "{", 1, "declared as application/json but is not valid", "resolve", name, "--status", "200",
		"--data", "-")
	says(t, env, `{"found":"out"}`, "Resolved: "+name, "resolve", name, "--status", "200", "--data", "-")
	file := filepath.Join(t.TempDir(), "result")
	if err := os.WriteFile(file, []byte("no seat"), 0o600); err != nil {
		t.Fatal(err)
	}
	name = named.FindString(says(t, env, "", "doubtful", "inspect", "d", "n", "--sequence=1"))
	says(t, env, "", "status 404 and these 7 bytes", "resolve", name, "--status=404", "--data="+file,
		"--content-type=text/plain")
	refusesTo(t, env, "{}", 1, "it has a result already, of status 404", "resolve", name, "--status", "200",
		"--data", "-")

	refusesTo(t, env, "n\n", 1, "nothing was forgotten", "forget", "--doubtful", "--before", "10ms")
	says(t, env, "", "No doubtful webhook has ended before that time.", "forget", "--doubtful", "--before",
		"2020-02-29T08:00:00+01:00")
	says(t, env, "y\n", "1 doubtful webhook ended before", "forget", "--doubtful", "--before", "10ms")
	says(t, env, "", "No webhook is doubtful.", "doubtful")

	for sequence, want := range []answer{
		{
			code: 200, Status: "cached", Data: []byte(`{"found":"out"}`)}, {code: 404, Status: "rejected",
			Data: []byte(`"no seat"`),
		},
		{code: 200, Status: "success"},
	} {
		a, err := stands.send(sequence)
		if want.Data == nil {
			a.Data = nil
		}
		if err != nil || a.code != want.code || a.Status != want.Status || string(a.Data) != string(want.Data) {
			t.Errorf("webhook %d gets %+v, %v", sequence, a, err)
		}
	}
	says(t, env, "", "before it attempt 1, by replica ", "inspect", "d", "n", "--sequence=2")
	if m := metrics(t, redis); m["doubtful"] != 3. || m["unavailable"] != 3. {
		t.Errorf("counters %v", m)
	}
}

// TestAPoisonedWebhookIsListedWithoutItsLimit: the verdict is written in the record.
func TestAPoisonedWebhookIsListedWithoutItsLimit(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).URL()
	env := []string{"REDIS_URL=" + redis, "SETTLE=0", "METRICS_FLUSH=50ms", "PATH=" + os.Getenv("PATH")}
	limited := append(env, "MAX_ATTEMPTS=1")
	r := start(t, append(limited, "ECHO_DELAY=20s", "EXECUTION_TIMEOUT=100ms")...)
	if a, err := r.send(1); err != nil || a.code != 500 {
		t.Fatalf("answer %+v, %v", a, err)
	}
	says(t, env, "", "state outcome unknown: it took longer than EXECUTION_TIMEOUT, and the backend may have done it "+
		"next delivery executes it as attempt 2, and so perhaps twice", "inspect", "d", "n", "--sequence=1")
	says(t, limited, "", `next delivery 500 "poisoned"`, "inspect", "d", "n", "--sequence=1")
	says(t, env, "", "No webhook is poisoned. MAX_ATTEMPTS is 0 here.", "poisoned")
	says(t, limited, "", "timeout poisoned, as the first one", "poisoned")
	if a, err := r.send(1); err != nil || a.Status != "poisoned" {
		t.Fatalf("answer %+v, %v", a, err)
	}
	for _, settings := range [][]string{env, limited} {
		says(t, settings, "", "timeout poisoned To have one executed again:", "poisoned")
		says(t, settings, "",
			`state poisoned: 1 execution failed or crashed, and it is not executed again next delivery 500 "poisoned"`,
			"inspect", "d", "n", "--sequence=1")
	}
}

// TestTheCommandsNeedNoMoreThanTheDocumentedUserMay checks docs/redis.md: the user's line, and the commands that
// inspect and resolve need in addition.
func TestTheCommandsNeedNoMoreThanTheDocumentedUserMay(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	admin := redistest.Client(t, s.Addr())
	env := []string{
		"REDIS_URL=redis://" + userWith(t, admin, "+type +strlen +xadd +xrange") + s.Addr(), "IN_DOUBT=stop",
		"TRAIL=100",
		"METRICS_FLUSH=50ms",
		"PATH=" + os.Getenv("PATH"),
	}
	r := start(t, append(env, "ECHO_DELAY=20s", "EXECUTION_TIMEOUT=100ms")...)
	for _, status := range []string{"", "doubtful"} {
		if a, err := r.send(1); err != nil || a.Status != status {
			t.Fatalf("answer %+v, %v", a, err)
		}
	}
	says(t, env, "", "doubtful", "doubtful")
	says(t, env, "", "No webhook is poisoned.", "poisoned")
	says(t, env, "", "executed", "stats")
	says(t, env, "", "1 webhook", "forget", "--doubtful", "--before=1ms", "--yes")
	name := named.FindString(says(t, env, "", "forgotten by a person", "inspect", "d", "n", "--sequence=1"))
	says(t, env, "{}", "Resolved", "resolve", name, "--status=200", "--data=-")
	says(t, env, "", "Forgotten", "forget", "d", "n", "--sequence=1")
	says(t, env, "", "a person found out what became of it: 200", "trail", "--dialog=d")
	if denied := redistest.Do(t, admin, "ACL", "LOG"); denied != "[]" {
		t.Errorf("they tried what they may not: %s", denied)
	}
}
