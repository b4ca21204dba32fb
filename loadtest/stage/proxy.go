package stage

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/oncegate/oncegate/internal/proc"
	"github.com/oncegate/oncegate/internal/sleep"
)

// ErrNoProxy says that nginx is not installed.
var ErrNoProxy = errors.New("it takes the Debian package nginx")

// proxy is an nginx before the replicas that repeats slow or failed deliveries.
type proxy struct {
	process *proc.Process
	log     string // path of the file that says to which replicas each delivery was sent
}

//go:embed nginx.conf
var proxyConfig string

// nginx returns the path of nginx. It also looks in /usr/sbin, which is in few people's PATH.
func nginx() (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoProxy
}

// HasProxy returns nil if Proxy can start an nginx.
func HasProxy() error {
	_, err := nginx()
	return err
}

// Proxy starts an nginx before the replicas and returns its URL.
func (s *Stage) Proxy(ctx context.Context) (url string, err error) {
	path, err := nginx()
	if err != nil {
		return "", err
	}
	port, err := proc.FreePort()
	if err != nil {
		return "", err
	}
	address := "127.0.0.1:" + port
	var replicas []string
	for _, r := range s.replicas {
		replicas = append(replicas, r.address)
	}
	p := &proxy{log: filepath.Join(s.dir, "access.log")}
	var config bytes.Buffer
	if err := template.Must(template.New("nginx.conf").Parse(proxyConfig)).Execute(&config, map[string]any{
		"Dir": s.dir, "Listen": address, "Replicas": replicas, "Root": os.Geteuid() == 0, "Rounds": make([]struct{}, 20),
	}); err != nil {
		return "", err
	}
	file := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(file, config.Bytes(), 0o600); err != nil {
		return "", err
	}
	command := exec.Command(path, "-p", s.dir, "-c", file, "-e", filepath.Join(s.dir, "error.log"))
	if p.process, err = s.run(ctx, command, proc.Listens(address)); err != nil {
		return "", err
	}
	s.proxy = p
	return "http://" + address, nil
}

// Tries returns how many deliveries nginx has sent to the replicas, repetitions included.
func (s *Stage) Tries() (int64, error) {
	file, err := os.Open(s.proxy.log)
	if err != nil {
		return 0, fmt.Errorf("what nginx sent on: %w", err)
	}
	defer func() { _ = file.Close() }()
	var tries int64
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		for sent := range strings.SplitSeq(lines.Text(), ", ") {
			if sent != "0" && sent != "-" { // number of bytes; a dead replica got none
				tries++
			}
		}
	}
	return tries, lines.Err()
}

// KillInTurn kills one replica after the other, as kill -9 does, and starts each again, until ctx ends. It returns the
// number of kills, when all replicas are up again.
func (s *Stage) KillInTurn(ctx context.Context, every time.Duration) (kills int, err error) {
	for ; sleep.For(ctx, every) == nil; kills++ {
		r := s.replicas[kills%len(s.replicas)]
		r.process.Kill()
		_ = sleep.For(ctx, every/4) // the replica stays away for a moment
		if err := s.start(context.WithoutCancel(ctx), r); err != nil {
			return kills, fmt.Errorf("starting a killed replica again: %w", err)
		}
	}
	return kills, nil
}
