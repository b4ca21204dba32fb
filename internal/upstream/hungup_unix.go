//go:build linux || darwin

package upstream

import (
	"errors"
	"net"
	"syscall"
)

// hungUp reports whether the other side has closed a connection on which nothing is awaited. net/http sees that too,
// but only when its reading goroutine runs; on a busy machine a request would be written meanwhile. TLS ends with a
// message of its own, so it is not seen there.
func hungUp(c net.Conn) bool {
	socket, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var hungUp bool
	err = raw.Control(func(fd uintptr) { // not Read: that would wait for the reading goroutine
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		hungUp = n == 0 && err == nil || errors.Is(err, syscall.ECONNRESET)
	})
	return err != nil || hungUp
}
