// Package redistest gives tests a Redis: a real redis-server of their own, or miniredis.
package redistest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/proc"
	"github.com/oncegate/oncegate/internal/tlstest"
)

// program is the server that the tests run: redis-server, or the program that REDIS_SERVER names, such as
// valkey-server.
var program = cmp.Or(os.Getenv("REDIS_SERVER"), "redis-server")

// Server is a redis-server on a free port of loopback, in a directory of its own. It is stopped with the test.
type Server struct {
	t       testing.TB
	dir     string
	port    string
	scheme  string
	args    func(port string) []string
	process *proc.Process // nil after Kill
}

// Start starts a redis-server without persistence; args are added to its command line. If the machine has no
// redis-server, the test fails: a test that is skipped would pass without proving anything.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, "redis", func(port string) []string { return append([]string{"--port", port}, args...) })
}

// StartTLS starts a server that speaks only TLS. Its certificate comes from the authority, and so must its clients'.
func StartTLS(t testing.TB, a *tlstest.Authority, args ...string) *Server {
	t.Helper()
	a.Issue("redis")
	return start(t, "rediss", func(port string) []string {
		return append([]string{
			"--port", "0", "--tls-port", port, "--tls-replication", "yes", "--tls-ca-cert-file", a.Path("ca.crt"),
			"--tls-cert-file", a.Path("redis.crt"), "--tls-key-file", a.Path("redis.key"),
		}, args...)
	})
}

func start(t testing.TB, scheme string, args func(port string) []string) *Server {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("this test needs %s (./test.sh installs redis-server): %v", program, err)
	}
	s := &Server{t: t, dir: t.TempDir(), scheme: scheme, args: args}
	t.Cleanup(s.Kill)
	var err error
	for range 5 { // another program may take the free port before Redis does
		s.port = freePort(t)
		if err = s.run(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// Restart starts the server again on the same port, after Kill. Its memory is lost.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) run() (err error) {
	config := filepath.Join(s.dir, "redis.conf") // Sentinel writes its state there
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return err
	}
	s.process, err = proc.Start(exec.Command(program, append([]string{
		config, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no", "--enable-debug-command", "yes",
	}, s.args(s.port)...)...))
	if err != nil {
		return err
	}
	if err = s.process.Await(context.Background(), proc.Listens(s.Addr())); err != nil {
		s.Kill()
	}
	return err
}

// Addr returns host:port.
func (s *Server) Addr() string { return "127.0.0.1:" + s.port }

// URL returns a REDIS_URL for the server.
func (s *Server) URL() string { return s.scheme + "://" + s.Addr() }

// Port returns the server's port.
func (s *Server) Port() string { return s.port }

// Kill ends the server as kill -9 does.
func (s *Server) Kill() {
	if s.process != nil {
		s.process.Kill()
		s.process = nil
	}
}

// Pause stops the server without closing its connections (SIGSTOP); Resume lets it go on.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Signal(sig); err != nil {
		s.t.Fatalf("signal %v to redis-server: %v", sig, err)
	}
}

// Config changes a setting of the running server.
func (s *Server) Config(name, value string) {
	s.t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}, ForceSingleClient: true,
		DisableCache: true})
	if err != nil {
		s.t.Fatalf("client of %s: %v", s.Addr(), err)
	}
	defer c.Close()
	Do(s.t, c, "CONFIG", "SET", name, value)
}

// Embedded starts a miniredis and returns its URL. It is stopped with the test.
func Embedded(t testing.TB) (server *miniredis.Miniredis, url string) {
	m := miniredis.RunT(t)
	return m, "redis://" + m.Addr()
}

// Client returns a plain client, without a cache, which is closed with the test.
func Client(t testing.TB, addr string) rueidis.Client {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true,
		ConnWriteTimeout: time.Minute, // 64 MiB to a miniredis with the race detector, on a busy machine
	})
	if err != nil {
		t.Fatalf("client of %s: %v", addr, err)
	}
	t.Cleanup(c.Close)
	return c
}

// Do runs a command and returns its reply as text, "" for nil.
func Do(t testing.TB, c rueidis.Client, args ...string) string {
	t.Helper()
	reply := c.Do(context.Background(), c.B().Arbitrary(args...).Build())
	if rueidis.IsRedisNil(reply.Error()) {
		return ""
	}
	message, err := reply.ToAny()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return fmt.Sprint(message)
}

func freePort(t testing.TB) string {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
