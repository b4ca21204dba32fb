package faults_test

import (
	"context"
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

	"github.com/oncegate/oncegate/internal/proc"
)

// replica is a replica of the gateway: a process of the built program, replaced by another one after a kill.
type replica struct {
	number  int
	program string
	env     []string
	log     io.Writer // receives the logs of all its lives

	mu      sync.Mutex
	lives   int
	url     string
	process *proc.Process // nil: it is dead
	closed  bool
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// address returns the address at which it listens, or listened before it died, and the number of its life.
func (r *replica) address() (url string, l life) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.url, life{r.number, r.lives}
}

// start begins a life, and returns when the process listens.
func (r *replica) start() error {
	process, err := r.begin()
	if err != nil {
		return err
	}
	at, err := process.Says(context.Background(), listening)
	if err != nil {
		process.Kill()
		return fmt.Errorf("replica %d: %w", r.number, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.url = "http://" + at[1]
	r.lives++
	return nil
}

var errClosed = errors.New("the run is over")

func (r *replica) begin() (*proc.Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	command := exec.Command(r.program)
	command.Env = append([]string{
		"LISTEN=127.0.0.1:0", "ADMIN_LISTEN=off", "PATH=" + os.Getenv("PATH"), "UPSTREAM_HEADERS=X-Replica: " +
			life{r.number, r.lives + 1}.String(),
	}, r.env...)
	command.Stderr = r.log
	process, err := proc.Start(command)
	if err == nil {
		r.process = process
	}
	return process, err
}

// revive starts it again and again until it listens: while Redis is away, no start succeeds.
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
		r.process.Kill()
		r.process = nil
	}
}

// wait waits, after SIGTERM, until its process has ended.
func (r *replica) wait() { <-r.process.Ended() }

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
	if err := r.process.Signal(s); err != nil {
		t.Fatalf("signal %v to replica %d: %v", s, r.number, err)
	}
}
