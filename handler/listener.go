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

// listener accepts connections for the server, in place of net.Listener for two reasons.
//
// If the process has no descriptor left, it waits and tries again. fasthttp would take that error for the end of the
// listener, so that strangers who open connections and send nothing could end the program.
//
// It turns away connections beyond a bound, so that descriptors are left for Redis and the backend.
type listener struct {
	net.Listener
	most  int          // connections at once; 0: no bound
	open  func() int32 // number of open connections
	plain bool         // callers speak HTTP without TLS
	log   *slog.Logger
	short rarely // limits the message that no connection can be accepted
	full  rarely // limits the message that connections are turned away
}

// The pause before the next try to accept a connection; it doubles from the first to the last.
const (
	acceptFirst = 5 * time.Millisecond
	acceptMost  = 500 * time.Millisecond
)

// Accept returns the next connection, or an error once the listener is closed.
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
			l.log.Error("no connection can be accepted at the moment: callers wait; "+
				"more descriptors (ulimit -n) or a lower MAX_CONNECTIONS may help", "error", err, "open", l.open())
		}
		time.Sleep(pause) //nolint:forbidigo // Accept has no context; acceptMost bounds the pause
		pause = min(2*pause, acceptMost)
	}
}

// passes reports whether an error of accept(2) is temporary: the process or the system is out of resources, or the
// network failed for the one connection that was about to be returned.
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
	"X-Content-Type-Options: nosniff\r\nContent-Security-Policy: " + string(policy) + "\r\nConnection: close\r\n" +
	"Content-Length: " + strconv.Itoa(len(overloadedBody)) + "\r\n\r\n" + overloadedBody

// turnAway answers 503 to a connection beyond the bound and closes it, without reading the request.
func (l *listener) turnAway(c net.Conn) {
	if l.full.now() {
		l.log.Warn("the bound of connections is reached: further ones are answered 503; raise MAX_CONNECTIONS or the limit "+
			"of descriptors (ulimit -n)", "connections", l.most)
	}
	if l.plain { // a TLS handshake would cost what there is too little of
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // its send buffer is empty: the write does not block
		_, _ = io.WriteString(c, overloadedAnswer)
	}
	_ = c.Close()
}

// The share of descriptors that callers' connections may not use: for Redis, files, commands, and one connection to the
// backend for each execution. It is at most a quarter of all.
const (
	keptDescriptors = 100 // for Redis, files and commands
	keptShare       = 4
)

// places returns how many connections may be open at once: at most most, and no more than the descriptors allow. 0
// means no bound.
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
