// Package proc runs a program as a process of its own: it starts it, waits until it is ready, tells what it takes, and
// ends it with all that it has started. Tests, load tests and comparisons run gateways, Redis, proxies and backends by
// it; the gateway itself does not use it.
package proc

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// patience is how long a program may take to end after it was told to.
const patience = 10 * time.Second

// Process is a program that was started, with the processes that it starts itself. Its methods may be called by any
// number of goroutines.
type Process struct {
	Stdout, Stderr Tail // what it has printed last

	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

// Start starts a command. What the program prints is kept in Stdout and Stderr, and goes to the command's own writers
// too, where there are any.
//
// The program is in a process group of its own: Ctrl-C reaches only the caller, which ends all in order. On Linux a
// caller that is killed takes it along. The processes that it leaves behind when it ends are killed.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = both(cmd.Stdout, &p.Stdout), both(cmd.Stderr, &p.Stderr)
	cmd.SysProcAttr = group()
	cmd.WaitDelay = patience // for those that it leaves behind, and that still hold its output
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		close(p.ended)
	}()
	return p, nil
}

func both(theirs io.Writer, ours *Tail) io.Writer {
	if theirs == nil {
		return ours
	}
	return io.MultiWriter(theirs, ours)
}

// Pid is its process id, which is also the id of its group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended is closed when the process has ended and all that it printed was read.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// ExitCode is what it ended with, -1 while it runs and if a signal ended it.
func (p *Process) ExitCode() int {
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Failure waits until the process has ended, and returns an error that says how, and what it printed last.
func (p *Process) Failure() error {
	<-p.ended
	return fmt.Errorf("%s: %v%s", p.cmd.Path, p.cmd.ProcessState, p.said())
}

// said is what it printed last, for the end of an error.
func (p *Process) said() string {
	const most = 4 << 10
	text := strings.TrimSpace(p.Stdout.String() + p.Stderr.String())
	if text == "" {
		return ", and it said nothing"
	}
	return ", and it said:\n" + text[max(0, len(text)-most):]
}

// Signal sends a signal to the process, not to its group.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Stop tells the process to end (SIGTERM), kills its group if it has not ended within 10 s, and returns when it has
// ended.
func (p *Process) Stop() {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.Kill()
	}
}

// Kill ends the process and its group as kill -9 does, and returns when it has ended.
func (p *Process) Kill() {
	select {
	case <-p.ended:
	default:
		_ = syscall.Kill(-p.Pid(), syscall.SIGKILL)
		<-p.ended
	}
}
