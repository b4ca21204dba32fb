package faults_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// replica is a replica of the gateway: one process at a time, of the built program.
type replica struct {
	number  int
	program string
	env     []string
	log     io.Writer // all its lives write there

	mu      sync.Mutex
	lives   int
	url     string
	process *exec.Cmd // nil: it is dead
	closed  bool
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// address is where it listens, or did before it died, and which life that is.
func (r *replica) address() (url string, l life) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.url, life{r.number, r.lives}
}

// start begins a life, and returns when it listens.
func (r *replica) start() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return errClosed
	}
	command := exec.Command(r.program)
	command.Env = append([]string{
		"LISTEN=127.0.0.1:0", "PATH=" + os.Getenv("PATH"), "UPSTREAM_HEADERS=X-Replica: " + life{r.number, r.lives + 1}.String(),
	}, r.env...)
	stderr, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		r.mu.Unlock()
		return err
	}
	r.process = command
	r.mu.Unlock()

	address := make(chan string, 1)
	go func() {
		defer close(address)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			_, _ = fmt.Fprintln(r.log, lines.Text())
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	select {
	case at, ok := <-address:
		if !ok {
			_ = command.Wait()
			return fmt.Errorf("replica %d ended before it listened: %v", r.number, command.ProcessState)
		}
		r.mu.Lock()
		r.url = "http://" + at
		r.lives++
		r.mu.Unlock()
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("replica %d does not listen", r.number)
	}
}

var errClosed = errors.New("the run is over")

// revive starts it again, until it listens: while Redis is away no start succeeds.
func (r *replica) revive() error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := r.start()
		if err == nil || errors.Is(err, errClosed) || time.Now().After(deadline) {
			return err
		}
	}
}

// kill ends its life as kill -9 does.
func (r *replica) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process != nil {
		_ = r.process.Process.Kill()
		_ = r.process.Wait()
		r.process = nil
	}
}

// wait returns when its process has ended, after SIGTERM.
func (r *replica) wait() { _ = r.process.Wait() }

func (r *replica) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.kill()
}

func (r *replica) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.process.Process.Signal(s); err != nil {
		t.Fatalf("signal %v to replica %d: %v", s, r.number, err)
	}
}
