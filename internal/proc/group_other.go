//go:build unix && !linux

package proc

import "syscall"

// group puts a process into a group of its own.
func group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
