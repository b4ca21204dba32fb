//go:build unix

package handler

import (
	"math"
	"syscall"
)

// descriptors returns how many descriptors this process may have open at once: the soft limit, which Go raises to the
// hard limit at the start.
func descriptors() (most int, known bool) {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0, false
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)), true //nolint:unconvert // it is an int64 on FreeBSD
}
