package handler

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"syscall"
	"time"
)

// listener takes connections for the server. Where the system has nothing left to open one with, it waits and goes on:
// fasthttp would take the error for the end, so that strangers who open connections and send nothing would end the
// program. It turns away connections beyond a bound, so that descriptors are left for Redis and the backend.
type listener struct {
	net.Listener
	most  int          // connections at once; 0: no bound
	open  func() int32 // how many there are
	log   *slog.Logger
	short rarely // said that the system has nothing left
	full  rarely // said that connections are turned away
}

// How long it waits before it tries again to take a connection.
const (
	acceptFirst = 5 * time.Millisecond
	acceptMost  = 500 * time.Millisecond
)

// Accept returns the next connection, or an error when the listener is closed.
func (l *listener) Accept() (net.Conn, error) {
	for pause := acceptFirst; ; {
		c, err := l.Listener.Accept()
		switch {
		case err == nil && (l.most == 0 || int(l.open()) < l.most):
			return c, nil
		case err == nil:
			l.turnAway(c)
			continue
		case !passes(err):
			return nil, err
		}
		if l.short.now() {
			l.log.Error("no connection can be taken at the moment: callers wait; "+
				"more descriptors (ulimit -n) or a lower MAX_CONNECTIONS may help", "error", err, "open", l.open())
		}
		time.Sleep(pause) //nolint:forbidigo // Accept has no context, and half a second at most
		pause = min(2*pause, acceptMost)
	}
}

// passes reports whether an error says that a connection can't be taken now and others may be later: what accept(2)
// says of want, and of the network of the connection that it was about to return.
func passes(err error) bool {
	for _, passing := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EPERM, syscall.EPROTO, syscall.ENOPROTOOPT,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

const overloadedBody = `{"detail":"` + detailOverloaded + `"}`

var overloadedAnswer = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n" +
	"X-Content-Type-Options: nosniff\r\nContent-Security-Policy: " + csp + "\r\nConnection: close\r\n" +
	"Content-Length: " + strconv.Itoa(len(overloadedBody)) + "\r\n\r\n" + overloadedBody

// turnAway answers 503 to whoever is one too many, without reading what it wants.
func (l *listener) turnAway(c net.Conn) {
	if l.full.now() {
		l.log.Warn("as many connections are open as may be: others are answered 503", "connections", l.most)
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // its buffer is empty: this waits for nobody
	_, _ = io.WriteString(c, overloadedAnswer)
	_ = c.Close()
}

// Of the descriptors, a part is kept for what is not a caller's connection: at most a quarter.
const (
	keptDescriptors = 100 // for Redis, files and commands; and one for each execution's connection to the backend
	keptShare       = 4
)

// places is how many connections may be open at once: at most so many, and no more than descriptors allow; 0: no bound.
func places(most, executions int) int {
	all, known := descriptors()
	if !known {
		return most
	}
	allowed := max(all-min(all/keptShare, executions+keptDescriptors), 1)
	if most == 0 {
		return allowed
	}
	return min(most, allowed)
}
