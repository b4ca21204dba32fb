package proc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/oncegate/oncegate/internal/sleep"
)

// startTime is how long a program may take until it is ready.
const startTime = time.Minute

// Await calls ready until it returns nil, for at most a minute. The error says why the process is not ready, or how it
// ended, with the end of its output.
func (p *Process) Await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := ready(ctx)
		select {
		case <-p.ended: // if ready succeeded, another program answered
			return p.Failure()
		default:
		}
		if err == nil {
			return nil
		}
		if stop := sleep.For(ctx, 10*time.Millisecond); stop != nil {
			return fmt.Errorf("%s is not ready: %w (%w)%s", p.cmd.Path, err, stop, p.said())
		}
	}
}

// Says waits, like Await, until the output on stderr matches a pattern, and returns the match and its groups.
func (p *Process) Says(ctx context.Context, what *regexp.Regexp) (match []string, err error) {
	err = p.Await(ctx, func(context.Context) error {
		if match = what.FindStringSubmatch(p.Stderr.String()); match == nil {
			return fmt.Errorf("it has not said %s", what)
		}
		return nil
	})
	return match, err
}

// Listens returns a function for Await: ready once a program listens at a TCP address.
func Listens(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}

// Says200 returns a function for Await: ready once a GET of url is answered 200.
func Says200(url string) func(context.Context) error {
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

// FreePort returns a TCP port of loopback on which no program listened a moment ago. Another program may take it first,
// but only one that asks for this port: those that Linux chooses for connections and listeners begin at 32768.
func FreePort() (port string, err error) {
	for range 100 {
		port = strconv.Itoa(20_000 + rand.IntN(12_000)) //nolint:gosec // it is no secret
		listener, failed := net.Listen("tcp", "127.0.0.1:"+port)
		if failed == nil {
			return port, listener.Close()
		}
		err = failed
	}
	return "", fmt.Errorf("a free port: %w", err)
}
