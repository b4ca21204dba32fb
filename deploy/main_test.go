// Package deploy_test tests this folder as far as that is possible without a container engine: with the programs
// themselves, and with the libraries that read such files.
package deploy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/proc"
)

// program and backend are the paths of the built gateway and of the example backend; TestMain owns their folder.
var program, backend string

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	slog.SetLogLoggerLevel(slog.LevelWarn) // Helm logs each symbolic link
	folder, err := os.MkdirTemp("", "oncegate")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	program, backend = filepath.Join(folder, "oncegate"), filepath.Join(folder, "bookings")
	build := exec.Command("go", "build", "-o", folder, ".", "./examples/bookings")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// start starts a program with this environment and no other, waits until it is ready, and kills it with the test.
func start(t *testing.T, ready func(context.Context) error, env []string, args ...string) *proc.Process {
	t.Helper()
	command := exec.Command(args[0], args[1:]...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	p, err := proc.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if err := p.Await(t.Context(), ready); err != nil {
		t.Fatal(err)
	}
	return p
}

// gateway is a replica that can be started again at its address.
type gateway struct {
	t       *testing.T
	address string
	env     []string
	process *proc.Process
}

// startGateway starts a build of the gateway on a free port.
func startGateway(t *testing.T, program string, env ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, address: "127.0.0.1:" + freePort(t)}
	g.env = append([]string{"LISTEN=" + g.address, "ADMIN_LISTEN=off"}, env...)
	g.start(program)
	return g
}

// start starts a build of the gateway, and waits until it is ready.
func (g *gateway) start(program string) {
	g.t.Helper()
	g.process = start(g.t, proc.Says200("http://"+g.address+"/readyz"), g.env, program)
}

// stop ends the replica as systemd and Kubernetes do.
func (g *gateway) stop() {
	g.t.Helper()
	if err := g.process.Signal(syscall.SIGTERM); err != nil {
		g.t.Fatal(err)
	}
	<-g.process.Ended()
	if code := g.process.ExitCode(); code != 0 {
		g.t.Errorf("exit status %d:\n%s", code, g.process.Stderr.String())
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// startNginxAt starts nginx on nginx.conf, changed by replacements, before gateways. It returns its URL.
func startNginxAt(t *testing.T, address string, gateways []string, replacements ...string) (url string) {
	t.Helper()
	text, err := os.ReadFile("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	var temporary strings.Builder // folders that only root may write to by default
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "%s_temp_path %s/%s;\n", kind, folder, kind)
	}
	replacements = append(replacements, "gateway-1:8000", gateways[0], "gateway-2:8000", gateways[1],
		"listen 8080", "listen "+address, "/var/log/nginx/error.log", "stderr", "/run/nginx.pid", folder+"/pid",
		"http {", "http {\n"+temporary.String())
	if os.Geteuid() == 0 { // its workers must write into the folder of the test
		replacements = append(replacements, "worker_processes auto;", "worker_processes 1; user root;")
	}
	for i := 0; i < len(replacements); i += 2 {
		if !bytes.Contains(text, []byte(replacements[i])) {
			t.Fatalf("nginx.conf lacks %q", replacements[i])
		}
		text = bytes.ReplaceAll(text, []byte(replacements[i]), []byte(replacements[i+1]))
	}
	file := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, proc.Listens(address), []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin"},
		nginx(t), "-p", folder, "-c", file, "-e", "stderr", "-g", "daemon off;")
	return "http://" + address
}

// nginx returns the path of nginx, which is in few people's PATH.
func nginx(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("this test needs nginx; ./test.sh installs it")
	return ""
}

// load delivers webhooks at a steady rate, each of them twice in a row, until it is stopped.
type load struct {
	stop context.CancelFunc
	sent sync.WaitGroup

	mu      sync.Mutex
	answers map[string]int // how many by their status, or by the text of the error
	count   int
}

// startLoad begins to deliver to url, at a rate a second.
func startLoad(t *testing.T, url string, rate int) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop, answers: make(map[string]int)}
	ticks := time.NewTicker(time.Second / time.Duration(rate))
	l.sent.Go(func() {
		defer ticks.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				l.sent.Go(func() { l.note(post(url, fmt.Sprintf("load-%d", i/2))) })
			}
		}
	})
	t.Cleanup(func() { l.end() })
	return l
}

func (l *load) note(status, _ string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers[status]++
	l.count++
}

// await waits until n more deliveries have been answered.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	for goal := l.answered() + n; l.answered() < goal; time.Sleep(10 * time.Millisecond) {
		if t.Context().Err() != nil {
			t.Fatal("the webhooks are not answered")
		}
	}
}

func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// end stops the load, waits for all answers, and returns how many deliveries there were, and how many of them were not
// answered with a success.
func (l *load) end() (sent, failed int) {
	l.stop()
	l.sent.Wait()
	return l.count, l.count - l.answers["200 OK"]
}

// post sends a webhook to a gateway, and returns the status, or the error, and the body of the answer.
func post(url, dialog string) (status, body string) {
	reply, err := http.Post(url+"/webhook/cognigy", "application/json",
		strings.NewReader(fmt.Sprintf(`{"dialogId":%q,"nodeId":"n","sequence":1,"variables":{"seats":2}}`, dialog)))
	if err != nil {
		return err.Error(), ""
	}
	defer func() { _ = reply.Body.Close() }()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return err.Error(), ""
	}
	return reply.Status, string(text)
}
