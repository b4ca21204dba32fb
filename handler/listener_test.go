package handler

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// flaky is a listener whose first calls of Accept fail.
type flaky struct {
	net.Listener
	errs []error
	conn net.Conn
}

func (f *flaky) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return f.conn, nil
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

func acceptError(errno syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
}

func TestWantOfDescriptorsEndsNoListener(t *testing.T) {
	var log bytes.Buffer
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	l := &listener{
		Listener: &flaky{conn: here, errs: []error{
			acceptError(syscall.EMFILE), acceptError(syscall.ENFILE), acceptError(syscall.ENOBUFS), acceptError(syscall.ENOMEM),
			acceptError(syscall.ECONNABORTED),
		}},
		open: func() int32 { return 7 }, log: slog.New(slog.NewTextHandler(&log, nil)),
	}
	if c, err := l.Accept(); err != nil || c != here {
		t.Errorf("got %v, %v", c, err)
	}
	if said := strings.Count(log.String(), "no connection can be accepted"); said != 1 {
		t.Errorf("said %d times: %s", said, &log)
	}
}

func TestAClosedListenerEnds(t *testing.T) {
	for _, end := range []error{net.ErrClosed, acceptError(syscall.EINVAL), io.EOF} {
		l := &listener{Listener: &flaky{errs: []error{end}}, open: func() int32 { return 0 },
			log: slog.New(slog.DiscardHandler)}
		if _, err := l.Accept(); !errors.Is(err, end) {
			t.Errorf("got %v, want %v", err, end)
		}
	}
}

func TestSomeDescriptorsAreKeptForRedisAndTheBackend(t *testing.T) {
	all, known := descriptors()
	if !known {
		t.Skip("no limit is known")
	}
	for _, c := range []struct{ most, executions, want int }{
		{1, 0, 1},
		{0, 0, max(all-100, all-all/4)},
		{0, 1 << 30, all - all/4},
		{1 << 30, 1 << 30, all - all/4},
	} {
		if got := places(c.most, c.executions); got != c.want {
			t.Errorf("of %d descriptors, %d at most, %d executions: %d, want %d", all, c.most, c.executions, got, c.want)
		}
	}
}
