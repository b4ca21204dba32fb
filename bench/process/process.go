// Package process runs the programs that are measured and says what they cost. It works on Linux only: it reads Linux'
// process clocks and /proc.
package process

import (
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oncegate/oncegate/internal/proc"
)

// Process is a program that was started, together with the processes that it starts itself.
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

// CPU returns the time, user and system, that the process and its children have used. It reads the kernel's clock of
// each process in nanoseconds, because /proc/PID/stat counts in hundredths of a second, too coarse for a short run.
func (p *Process) CPU() (time.Duration, error) {
	var sum time.Duration
	family, err := p.Family()
	for _, pid := range family {
		var used unix.Timespec
		clock := int32(^pid<<3 | 2) // the id of another process' CPUCLOCK_SCHED
		if err := unix.ClockGettime(clock, &used); err != nil {
			return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
		}
		sum += time.Duration(used.Nano())
	}
	return sum, err
}
