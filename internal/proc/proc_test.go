package proc_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/proc"
)

// start starts a shell script and kills it with the test.
func start(t *testing.T, script string) *proc.Process {
	t.Helper()
	p, err := proc.Start(exec.Command("sh", "-c", script))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

var ready = regexp.MustCompile(`ready (\d+)`)

// child starts a script that prints the pid of a process that it has started.
func child(t *testing.T, script string) (p *proc.Process, pid string) {
	t.Helper()
	p = start(t, script)
	match, err := p.Says(t.Context(), ready)
	if err != nil {
		t.Fatal(err)
	}
	return p, match[1]
}

// gone waits until a process does not exist any more, or is a zombie.
func gone(t *testing.T, pid string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %s lives: %s", pid, stat)
		}
	}
}

func TestAProgramThatEndsBeforeItIsReadyIsToldWithItsWords(t *testing.T) {
	p := start(t, `echo on stdout; echo on stderr >&2; exit 3`)
	err := p.Await(t.Context(), func(context.Context) error { return errors.New("nobody is there") })
	for _, want := range []string{"exit status 3", "on stdout", "on stderr"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error has no %q: %v", want, err)
		}
	}
	if p.ExitCode() != 3 {
		t.Errorf("exit code %d", p.ExitCode())
	}
}

func TestAReadyAnswerOfAnotherIsNotBelieved(t *testing.T) {
	p := start(t, `exit 1`)
	<-p.Ended()
	if err := p.Await(t.Context(), func(context.Context) error { return nil }); err == nil {
		t.Error("a program that has ended is ready")
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	p := start(t, `echo I think >&2; exec sleep 60`)
	if _, err := p.Says(t.Context(), regexp.MustCompile("I think")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := p.Says(ctx, regexp.MustCompile("done"))
	for _, want := range []string{"it has not said done", "deadline exceeded", "I think"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error has no %q: %v", want, err)
		}
	}
}

func TestKillEndsWhatTheProgramHasStarted(t *testing.T) {
	p, pid := child(t, `sleep 60 & echo ready $! >&2; wait`)
	p.Kill()
	gone(t, pid)
}

func TestWhatAProgramLeavesBehindIsKilled(t *testing.T) {
	p := start(t, `sleep 60 >/dev/null 2>&1 & echo ready $! >&2`)
	<-p.Ended()
	gone(t, ready.FindStringSubmatch(p.Stderr.String())[1])
}

func TestStopLetsAProgramEndInOrder(t *testing.T) {
	p, _ := child(t, `trap 'exit 7' TERM; echo ready 0 >&2; while :; do sleep 0.05; done`)
	p.Stop()
	if p.ExitCode() != 7 {
		t.Errorf("exit code %d: %v", p.ExitCode(), p.Failure())
	}
}

func TestStopKillsAProgramThatDoesNotListen(t *testing.T) {
	t.Parallel()
	p, _ := child(t, `trap '' TERM; echo ready 0 >&2; while :; do sleep 0.05; done`)
	p.Stop()
	if failure := p.Failure().Error(); !strings.Contains(failure, "killed") {
		t.Error(failure)
	}
}

func TestAParentThatIsKilledTakesTheProgramAlong(t *testing.T) {
	if os.Getenv("PARENT") != "" { // this test, started again as the parent
		p, err := proc.Start(exec.Command("sleep", "60"))
		if err != nil {
			t.Fatal(err)
		}
		println("ready", p.Pid())
		<-p.Ended()
		return
	}
	parent := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	parent.Env = append(os.Environ(), "PARENT=1")
	p, err := proc.Start(parent)
	if err != nil {
		t.Fatal(err)
	}
	match, err := p.Says(t.Context(), ready)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Signal(syscall.SIGKILL) // not its group
	gone(t, match[1])
}

func TestOnlyTheEndOfALongOutputIsKept(t *testing.T) {
	p := start(t, `i=0; while [ $i -lt 400 ]; do i=$((i+1)); printf '%d %09999d\n' $i 0 >&2; done`)
	<-p.Ended()
	text := p.Stderr.String()
	first, _, _ := strings.Cut(text, " ")
	if len(text) > 1<<20 || len(text) < 1<<20-10_004 || first != "297" || !strings.Contains(text, "\n400 0") {
		t.Errorf("%d bytes are kept, from line %q on", len(text), first)
	}
}

func TestItsOwnWritersGetTheOutputToo(t *testing.T) {
	var out strings.Builder
	cmd := exec.Command("echo", "hello")
	cmd.Stdout = &out
	p, err := proc.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	if out.String() != "hello\n" || p.Stdout.String() != "hello\n" {
		t.Errorf("the writer got %q, kept is %q", out.String(), p.Stdout.String())
	}
}

func TestMemoryIsThatOfTheWholeFamily(t *testing.T) {
	p, pid := child(t, `sleep 60 & echo ready $! >&2; wait`)
	family, err := p.Family()
	if err != nil || len(family) != 2 || family[0] != p.Pid() {
		t.Errorf("family %v with child %s, %v", family, pid, err)
	}
	if memory, err := p.Memory(); err != nil || memory < 200<<10 || memory > 100<<20 {
		t.Errorf("memory %d, %v", memory, err)
	}
}

func TestAFreePortCanBeTaken(t *testing.T) {
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if err := proc.Listens(listener.Addr().String())(t.Context()); err != nil {
		t.Error(err)
	}
}
