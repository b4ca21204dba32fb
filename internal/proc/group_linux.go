package proc

import "syscall"

// group puts a process into a group of its own, and makes the kernel end it if its parent is killed.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
