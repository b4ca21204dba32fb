// Package stage starts what a load test plays on when it is given no target: Redis, two replicas, and an nginx before
// them. All of it is on loopback, and ended with the stage.
package stage

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oncegate/oncegate/internal/sleep"
)

// How long a program may take to answer, and to end.
const (
	startTime = 30 * time.Second
	endTime   = 10 * time.Second
)

// process is a program that was started.
type process struct {
	name    string
	command *exec.Cmd
	output  tail
	ended   chan struct{}
}

func start(ctx context.Context, dir string, environment []string, ready func(context.Context) error, name string, args ...string) (*process, error) {
	p := &process{name: name, command: exec.Command(name, args...), ended: make(chan struct{})}
	p.command.Dir = dir
	p.command.Env = append(p.command.Environ(), environment...)
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	// A group of its own: Ctrl-C reaches the load test alone, which ends all in order.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = p.command.Wait() // how it ended is asked only where it ends too early
		close(p.ended)
	}()
	if err := p.await(ctx, ready); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// await asks until the process answers, or has ended.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s: %v: %s", p.name, p.command.ProcessState, p.output.String())
		default:
		}
		if sleep.For(ctx, 10*time.Millisecond) != nil {
			return fmt.Errorf("%s does not answer: %w: %s", p.name, err, p.output.String())
		}
	}
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// stop tells it to end, and sees to it.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(endTime):
		p.kill()
	}
}

// memory is what of it is in memory, in bytes; 0 where the system does not tell.
func (p *process) memory() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.command.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text)) // in pages: all, resident, …
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// tail keeps the last of what a program says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(text []byte) (int, error) {
	const kept = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, text...)
	t.text = t.text[max(0, len(t.text)-kept):]
	return len(text), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// dials is ready when somebody listens.
func dials(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}

// says200 is ready when that is what it answers.
func says200(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, response.Status)
		}
		return nil
	}
}

// freeAddress is host:port on loopback where nobody listens.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}
