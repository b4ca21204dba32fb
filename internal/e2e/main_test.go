package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/proc"
	"github.com/oncegate/oncegate/internal/redistest"
)

// module is the program's import path.
const module = "github.com/oncegate/oncegate"

// program is the path of the built binary; TestMain owns its directory.
var program string

func TestMain(m *testing.M) {
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "oncegate")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "oncegate")
	if out, err := exec.Command("go", "build", "-race", "-o", program, module).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// replica is a process of the gateway.
type replica struct {
	t       *testing.T
	process *proc.Process
	url     string
}

var listening = regexp.MustCompile(`msg"?[=:]"?listening"?[ ,]"?address"?[=:]"?([^\s"]+)`)

// start starts a replica on a free port and waits until it listens.
func start(t *testing.T, env ...string) *replica {
	t.Helper()
	return startBuilt(t, program, env...)
}

// plain builds the program without the race detector, which changes how much memory it uses.
func plain(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "oncegate")
	if out, err := exec.Command("go", "build", "-o", program, module).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// startBuilt starts another binary than the tests' own.
func startBuilt(t *testing.T, program string, env ...string) *replica {
	t.Helper()
	command := exec.Command(program)
	command.Env = append([]string{"LISTEN=127.0.0.1:0", "ADMIN_LISTEN=off", "PATH=" + os.Getenv("PATH"), hurry}, env...)
	r := &replica{t: t, process: run(t, command)}
	at, err := r.process.Says(t.Context(), listening)
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + at[1]
	return r
}

// hurry keeps the race detector from sleeping for a second at a program's end.
const hurry = "GORACE=atexit_sleep_ms=0"

// oncegate is a command of the program's, with nothing but this in its environment.
func oncegate(env []string, args ...string) *exec.Cmd {
	command := exec.Command(program, args...)
	command.Env = append(slices.Clip(env), hurry)
	return command
}

// run starts a program and kills it with the test.
func run(t *testing.T, command *exec.Cmd) *proc.Process {
	t.Helper()
	p, err := proc.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// logs returns what the process has written to stderr, and printed what it has written to stdout.
func (r *replica) logs() string    { return r.process.Stderr.String() }
func (r *replica) printed() string { return r.process.Stdout.String() }

func (r *replica) signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// exit waits until it ends and returns its exit status.
func (r *replica) exit() int {
	r.t.Helper()
	select {
	case <-r.process.Ended():
	case <-time.After(time.Minute):
		r.t.Fatalf("it does not end:\n%s", r.logs())
	}
	return r.process.ExitCode()
}

// answer is the answer to a webhook.
type answer struct {
	code       int
	retryAfter string
	Status     string
	Data       json.RawMessage
}

func (r *replica) send(sequence int) (answer, error) {
	body := fmt.Sprintf(`{"dialogId":"d","nodeId":"n","sequence":%d}`, sequence)
	request, err := http.NewRequest(http.MethodPost, r.url+"/webhook/cognigy", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	return answerTo(request)
}

// executing sends a first webhook, and returns once the replica executes it. Its answer comes later.
func (r *replica) executing(redis string) <-chan answer {
	r.t.Helper()
	answered := make(chan answer, 1)
	go func() {
		a, err := r.send(1)
		if err != nil {
			r.t.Error(err)
		}
		answered <- a
	}()
	eventually(r.t, "it executes", func() bool { return metrics(r.t, redis)["executed"] == 1. })
	return answered
}

func answerTo(request *http.Request) (answer, error) {
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = reply.Body.Close() }()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{code: reply.StatusCode, retryAfter: reply.Header.Get("Retry-After")}
	return a, json.Unmarshal(text, &a)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	eventuallyIn(t, time.Minute, what, holds)
}

func eventuallyIn(t *testing.T, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// metrics reads a counter through the program's own command.
func metrics(t *testing.T, redis string, env ...string) map[string]any {
	t.Helper()
	out, err := oncegate(append(os.Environ(), env...), "stats", "--json", "--redis-url", redis).Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok &&
		bytes.Contains(failed.Stderr, []byte("no gateway has run")) {
		return nil // the replica has just started
	}
	if err != nil {
		t.Fatalf("stats: %v", err)
	}
	var m map[string]any
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatalf("stats: %v in %s", err, out)
	}
	return m
}

// storm sends one webhook many times at once, spread over the replicas. It checks that one delivery is executed and
// that all get its result, which it returns.
func storm(t *testing.T, replicas []*replica, deliveries int, redis string, env ...string) (data json.RawMessage) {
	t.Helper()
	answers := make([]answer, deliveries)
	var sent sync.WaitGroup
	for i := range answers {
		sent.Go(func() {
			var err error
			if answers[i], err = replicas[i%len(replicas)].send(1); err != nil {
				t.Error(err)
			}
		})
	}
	sent.Wait()
	counted := make(map[string]int)
	for _, a := range answers {
		counted[a.Status]++
		if a.code != 200 || !bytes.Equal(a.Data, answers[0].Data) {
			t.Fatalf("answers differ: %d %s %s, %s", a.code, a.Status, a.Data, answers[0].Data)
		}
	}
	if counted["success"] != 1 || counted["cached"] != deliveries-1 {
		t.Errorf("answers %v", counted)
	}
	eventually(t, "the counters add up", func() bool {
		m := metrics(t, redis, env...)
		return m["total_requests"] == float64(deliveries) && m["executed"] == 1. && m["stored"] == 1. &&
			m["duplicates"] == float64(deliveries-1)
	})
	return answers[0].Data
}

func TestAStormOverThreeProcessesExecutesOnce(t *testing.T) {
	const deliveries = 500
	redis := redistest.Start(t).URL()
	replicas := make([]*replica, 3)
	for i := range replicas {
		replicas[i] = start(t, "REDIS_URL="+redis, "ECHO_DELAY=500ms", "METRICS_FLUSH=50ms", "WAIT_TIMEOUT=20s")
	}
	storm(t, replicas, deliveries, redis)
}

func TestAReplicaThatIsKilledIsTakenOver(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).URL()
	env := []string{"REDIS_URL=" + redis, "LOCK_TTL=6s", "REDIS_TIMEOUT=1s", "SETTLE=3s", "METRICS_FLUSH=50ms",
		"WAIT_TIMEOUT=30s"}
	dies := start(t, append(env, "ECHO_DELAY=60s", "EXECUTION_TIMEOUT=2m")...)
	takes := start(t, env...)
	go func() { _, _ = dies.send(1) }()
	eventually(t, "it executes", func() bool { return metrics(t, redis)["executed"] == 1. })
	dies.signal(syscall.SIGKILL)
	if a, err := takes.send(1); err != nil || a.Status != "success" {
		t.Errorf("answer %+v, %v", a, err)
	}
	eventually(t, "the takeover is counted", func() bool {
		m := metrics(t, redis)
		return m["takeovers"] == 1. && m["executed"] == 2. && m["stored"] == 1.
	})
	if a, err := takes.send(1); err != nil || a.Status != "cached" {
		t.Errorf("a duplicate's answer %+v, %v", a, err)
	}
}

func TestAShutdownLetsAnExecutionFinish(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).URL()
	r := start(t, "REDIS_URL="+redis, "ECHO_DELAY=6s", "METRICS_FLUSH=1m", "SETTLE=0") // only the end flushes counters
	answered := r.executing(redis)
	r.signal(syscall.SIGTERM)
	eventually(t, "nobody new gets in", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	select {
	case a := <-answered:
		t.Errorf("only after answer %+v", a)
		return
	default:
	}
	if a := <-answered; a.Status != "success" {
		t.Errorf("answer %+v", a)
	}
	if code := r.exit(); code != 0 {
		t.Errorf("exit status %d:\n%s", code, r.logs())
	}
	if m := metrics(t, redis); m["total_requests"] != 1. || m["stored"] != 1. {
		t.Errorf("counters %v", m)
	}
}

func TestASecondSignalEndsItAtOnce(t *testing.T) {
	r := start(t, "ECHO_DELAY=30s", "EXECUTION_TIMEOUT=30s")
	go func() { _, _ = r.send(1) }()
	eventually(t, "it executes", func() bool { return r.status(1) == http.StatusAccepted })
	r.signal(syscall.SIGTERM)
	eventually(t, "it shuts down", func() bool { return strings.Contains(r.logs(), "shutting down") })
	start := time.Now()
	r.signal(syscall.SIGTERM)
	if code := r.exit(); code == 0 || time.Since(start) > 20*time.Second {
		t.Errorf("exit status %d after %v", code, time.Since(start))
	}
}

var curl = regexp.MustCompile(`(?m)^  curl -i (localhost:\d+/webhook/cognigy) -H '(.+): (.+)' \\\n    -d '(.+)'$`)

func TestTheEmbeddedStartSaysWhatToTry(t *testing.T) {
	r := start(t)
	eventually(t, "it warns of the embedded store",
		func() bool { return strings.Contains(r.logs(), "THE STORE IS EMBEDDED") })
	var line []string
	eventually(t, "it says what to try", func() bool { line = curl.FindStringSubmatch(r.printed()); return line != nil })
	for _, want := range []string{"success", "cached"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+line[1],
			strings.NewReader(line[4]))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(line[2], line[3])
		if a, err := answerTo(request); err != nil || a.Status != want || string(a.Data) == "null" {
			t.Errorf("answer %+v %v, want %s", a, err, want)
		}
	}
	r.signal(syscall.SIGINT)
	if code := r.exit(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestAPasswordIsNeverShown(t *testing.T) {
	const secret = "correct-horse"
	s := redistest.Start(t, "--requirepass", secret)
	r := start(t, "REDIS_URL=redis://:"+secret+"@"+s.Addr(), "LOG_LEVEL=debug", "SETTLE=0")
	s.Kill()
	eventually(t, "it misses redis", func() bool {
		if _, err := r.send(1); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(r.logs(), "redis does not answer")
	})
	r.signal(syscall.SIGTERM)
	r.exit()
	if shown := r.logs() + r.printed(); strings.Contains(shown, secret) {
		t.Errorf("it says:\n%s", shown)
	}
}

func TestSealedResultsAndTheirKeysAreNeverShown(t *testing.T) {
	const key, digest = "a2V5IG9mIGEgdGVzdCwgMzIgYnl0ZXMgaW4gbGVuZ3Q=", "c2VjcmV0IG9mIGRpZ2VzdHMsIDMyIGJ5dGVzIGxvbmc="
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("# of a test\n2026-11 "+key+"\ndigest "+digest+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := redistest.Start(t)
	client := redistest.Client(t, s.Addr())
	options := []string{"REDIS_URL=" + s.URL(), "LOG_LEVEL=debug", "LOG_EXECUTIONS=all", "SETTLE=0"}
	a, b := start(t, append(options, "RESULT_KEY_FILE="+file)...), start(t, append(options, "RESULT_KEY_FILE="+file)...)
	without := start(t, options...)
	post := func(r *replica) answer {
		request, err := http.NewRequest(http.MethodPost, r.url+"/webhook/cognigy",
			strings.NewReader(`{"dialogId":"d","nodeId":"n","sequence":1,"variables":{"name":"pl4nted"}}`))
		if err != nil {
			t.Fatal(err)
		}
		got, err := answerTo(request)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first, second, third := post(a), post(b), post(without)
	if !strings.Contains(string(first.Data), "pl4nted") || string(second.Data) != string(first.Data) ||
		second.Status != "cached" {
		t.Errorf("%+v, then %+v: this test can't fail", first, second)
	}
	if third.code != 503 || len(third.Data) > 0 {
		t.Errorf("without the key: %+v", third)
	}
	value := redistest.Do(t, client, "GET", redistest.Do(t, client, "EVAL", "return redis.call('KEYS', '*:fp:*')[1]", "0"))
	if !strings.Contains(value, " 2026-11\n") {
		t.Errorf("%q stands in Redis", value)
	}
	for _, r := range []*replica{a, b, without} {
		r.signal(syscall.SIGTERM)
		r.exit()
	}
	shown := a.logs() + a.printed() + b.logs() + without.logs() + value
	for _, hidden := range []string{"pl4nted", key, digest, "key of a test", "secret of digests"} {
		if strings.Contains(shown, hidden) {
			t.Errorf("%q is shown", hidden)
		}
	}
}

func TestHelpAndVersionExitWithZero(t *testing.T) {
	for arg, says := range map[string]string{"--help": "Usage: oncegate <command>",
		"--version": "oncegate "} {
		out, err := oncegate([]string{"LOCK_TTL=rubbish"}, arg).CombinedOutput() // a setting that makes no sense
		if err != nil || !strings.HasPrefix(string(out), says) {
			t.Errorf("%s: %v, it says %s", arg, err, out)
		}
	}
}

func TestBadStartsSayWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"a setting that makes no sense": {[]string{"--lock-ttl", "1ms"}, 2, "LOCK_TTL"},
		"an unknown flag":               {[]string{"--nope"}, 2, "--nope"},
		"a redis that is away": {[]string{"--redis-url", "redis://127.0.0.1:1", "--redis-retries", "0"}, 1,
			"127.0.0.1:1"},
		"stats without a redis": {[]string{"stats"}, 1, "REDIS_URL"},
		"a file without keys":   {[]string{"--result-key-file", os.DevNull}, 2, "RESULT_KEY_FILE"},
		"a port that is taken":  {[]string{"--listen", taken.Addr().String()}, 1, "LISTEN"},
	} {
		t.Run(name, func(t *testing.T) {
			command := oncegate(nil, c.args...)
			out, _ := command.CombinedOutput()
			if code := command.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) {
				t.Errorf("exit status %d, want %d; it says %s", code, c.code, out)
			}
		})
	}
}

func TestHealthNeedsNoRedis(t *testing.T) {
	r := start(t)
	for listen, code := range map[string]int{strings.TrimPrefix(r.url, "http://"): 0, "127.0.0.1:1": 1} {
		command := oncegate([]string{"LISTEN=" + listen}, "health")
		out, _ := command.CombinedOutput()
		if got := command.ProcessState.ExitCode(); got != code || bytes.Count(out, []byte("\n")) != 1 {
			t.Errorf("%s: exit status %d, it says %s", listen, got, out)
		}
	}
}

func TestStatsOfAnotherPrefixFail(t *testing.T) {
	redis := redistest.Start(t).URL()
	start(t, "REDIS_URL="+redis)
	command := oncegate([]string{"KEY_PREFIX=other"}, "stats", "--redis-url", redis)
	out, _ := command.CombinedOutput()
	if code := command.ProcessState.ExitCode(); code != 1 ||
		!strings.Contains(string(out), `no gateway has run with KEY_PREFIX "other"`) {
		t.Errorf("exit status %d, it says %s", code, out)
	}
}

func TestACommandFindsNothing(t *testing.T) {
	redis := redistest.Start(t).URL()
	command := oncegate(os.Environ(), "inspect", "--redis-url", redis, "d", "n", "--sequence=-5")
	out, _ := command.CombinedOutput()
	if code := command.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "no record") {
		t.Errorf("exit status %d, it says %s", code, out)
	}
}
