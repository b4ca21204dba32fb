// Package proc runs a program as a process. It starts the program, waits until it is ready, measures its memory, and
// ends it together with every process that it has started. Tests, load tests and comparisons use it to run gateways,
// Redis, proxies and backends; the gateway itself does not use it.
package proc

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// patience is how long a program may take to end after SIGTERM.
const patience = 10 * time.Second

// Process is a program that was started, together with the processes that it starts itself. Its methods are safe for
// concurrent use.
type Process struct {
	Stdout, Stderr Tail // the end of its output

	cmd   *exec.Cmd
	ended chan struct{} // closed when the program has ended
}

// Start starts a command. The output of the program is kept in Stdout and Stderr, and also goes to the command's own
// writers, if it has any.
//
// The program gets a process group of its own: Ctrl-C reaches only the caller, which then ends its programs in order.
// On Linux, a caller that is killed takes the program along. Processes that the program leaves behind when it ends are
// killed.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = both(cmd.Stdout, &p.Stdout), both(cmd.Stderr, &p.Stderr)
	cmd.SysProcAttr = group()
	cmd.WaitDelay = patience // processes that it leaves behind may still hold its output
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait() // ProcessState says how it ended
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

// Pid returns the process id, which is also the id of the group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended returns a channel that is closed when the process has ended and all its output was read.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// ExitCode returns the exit code. It is -1 while the process runs, and if a signal ended it.
func (p *Process) ExitCode() int {
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Failure waits until the process has ended, and returns an error that says how it ended, with the end of its output.
func (p *Process) Failure() error {
	<-p.ended
	return fmt.Errorf("%s: %v%s", p.cmd.Path, p.cmd.ProcessState, p.said())
}

// said returns the end of the output, for the end of an error.
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

// Stop asks the process to end (SIGTERM), and kills its group if it has not ended within 10 s. It returns when the
// process has ended.
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
