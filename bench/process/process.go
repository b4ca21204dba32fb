// Package process runs the programs that are measured, and says what they cost. Linux only: that is read from its
// clocks and from /proc.
package process

import (
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oncegate/oncegate/internal/proc"
)

// Process is a program that was started, with the processes that it starts itself.
type Process struct {
	*proc.Process
	name string
}

// Start runs a program in a directory, with variables added to the environment.
func Start(dir string, environment []string, name string, args ...string) (*Process, error) {
	command := exec.Command(name, args...)
	command.Dir = dir
	command.Env = append(command.Environ(), environment...)
	p, err := proc.Start(command)
	if err != nil {
		return nil, err
	}
	return &Process{p, name}, nil
}

// CPU is the time, user and system, that the process and those it started have used. The kernel's clock of a process is
// what /proc/PID/stat tells in hundredths of a second, in nanoseconds: a short run needs them.
func (p *Process) CPU() (time.Duration, error) {
	var sum time.Duration
	family, err := p.Family()
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
