// Package process runs the programs that are measured: it starts them, says what they cost, and ends them. Linux only:
// what they cost is read from its clocks and from /proc.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a program may take to end after it was told to.
const patience = 5 * time.Second

// Process is a program that was started, with the processes that it starts itself.
type Process struct {
	name   string
	cmd    *exec.Cmd
	output bytes.Buffer // read only after ended
	ended  chan struct{}
}

// Start runs a program in a directory, with variables added to the environment.
func Start(dir string, environment []string, name string, args ...string) (*Process, error) {
	p := &Process{name: name, cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	// A group of its own: Ctrl-C reaches the benchmark alone, which ends all in order, and what a program leaves behind
	// can be ended with it. Should the benchmark be killed, the kernel tells the program.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.cmd.WaitDelay = patience
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is asked only where it ends too early
		close(p.ended)
	}()
	return p, nil
}

// Ended tells of a process that has ended by itself.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Failure says what a process said before it ended.
func (p *Process) Failure() error {
	<-p.ended
	return fmt.Errorf("%s: %v: %.2000s", p.name, p.cmd.ProcessState, p.output.Bytes())
}

// Stop ends the process and all that it started, and returns when they have ended.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

// CPU is the time, user and system, that the process and those it started have used. The kernel's clock of a process is
// what /proc/PID/stat tells in hundredths of a second, in nanoseconds: a short run needs them.
func (p *Process) CPU() (time.Duration, error) {
	var sum time.Duration
	family, err := p.family()
	for _, pid := range family {
		var used unix.Timespec
		clock := int32(^pid<<3 | 2) // CPUCLOCK_SCHED of another process
		if err := unix.ClockGettime(clock, &used); err != nil {
			return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
		}
		sum += time.Duration(used.Nano())
	}
	return sum, err
}

// Memory is the resident memory, in bytes, of the process and those it started.
func (p *Process) Memory() (int64, error) {
	var sum int64
	family, err := p.family()
	for _, pid := range family {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(text)) // in pages: all, resident, …
		if len(fields) < 2 {
			return 0, fmt.Errorf("/proc/%d/statm: %q", pid, text)
		}
		pages, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += pages * int64(os.Getpagesize())
	}
	return sum, err
}

// family is the process and its descendants.
func (p *Process) family() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		parent, err := parentOf(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		children[parent] = append(children[parent], pid)
	}
	family := []int{p.cmd.Process.Pid}
	for i := 0; i < len(family); i++ {
		family = append(family, children[family[i]]...)
	}
	return family, nil
}

func parentOf(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// pid (name) state parent …: a name may have blanks and brackets in it
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	return strconv.Atoi(fields[1])
}
