//go:build linux || darwin

package upstream

import (
	"errors"
	"net"
	"syscall"
)

// hungUp reports whether the peer has closed a connection on which no answer is awaited. net/http notices that too, but
// only when its reading goroutine runs; on a busy machine a request may be written before. A TLS connection is not
// checked: its close is a message of TLS.
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
	err = raw.Control(func(fd uintptr) { // raw.Read would wait for the reading goroutine
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		hungUp = n == 0 && err == nil || errors.Is(err, syscall.ECONNRESET)
	})
	return err != nil || hungUp
}
