package redistest

import (
	"net"
	"sync"
	"testing"
)

// listen serves each connection to a free port of loopback in a goroutine of its own, and returns the address. At the
// end of the test it closes the listener, calls end, which must end all connections, and waits for the goroutines.
func listen(t testing.TB, serve func(client net.Conn), end func()) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("a free port: %v", err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		end()
		running.Wait()
	})
	return l.Addr().String()
}
