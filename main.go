// Oncegate stands in front of a webhook's business logic. The logic runs once; every duplicate gets the same answer.
//
// main reads the configuration, chooses the logic, and runs a gateway before it until a signal comes. README.md shows
// how to use it, docs/design.md how it works.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // only to silence it
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/handler/tracing"
	"github.com/oncegate/oncegate/internal/build"
	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/demo"
	"github.com/oncegate/oncegate/internal/logs"
	"github.com/oncegate/oncegate/internal/reload"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/internal/shutdown"
	"github.com/oncegate/oncegate/internal/tlsfile"
	"github.com/oncegate/oncegate/internal/top"
	"github.com/oncegate/oncegate/internal/upstream"
	"github.com/oncegate/oncegate/internal/watch"
)

// version is set by the linker (-ldflags "-X main.version=…") if Go cannot know it: in a tree without its history.
var version string

// built is what this program was built from.
var built = build.Of(version)

func main() {
	line, err := config.Parse(os.Args[1:], os.Getenv, built.String())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	drainDelay := line.HTTP.DrainDelay
	if line.Command != "serve" {
		drainDelay = 0
	}
	ctx, signals := shutdown.Notify(drainDelay)

	// net/http logs there by itself, and quotes bytes that a backend sent.
	log.SetOutput(io.Discard)
	log := logs.New(line.Log, os.Stderr)
	if line.Command != "health" { // it runs every few seconds and must print one line
		warnOfEnvironment(log)
	}
	if line.Command != "serve" {
		if err := do(ctx, line, log); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitStatus(err))
		}
		return
	}
	// A signal that comes before the gateway listens is no failure: there is nothing to finish.
	if err := serve(ctx, signals, line, log); err != nil && !errors.Is(err, context.Canceled) {
		log.Error("oncegate stops", "error", err)
		os.Exit(exitStatus(err))
	}
	log.Info("bye")
}

// exitStatus is 2 for a mistake in the configuration, which a restart does not fix, and 1 for every other error.
func exitStatus(err error) int {
	if errors.Is(err, seal.ErrKeyFile) {
		return 2
	}
	return 1
}

// do runs one of the commands other than serve.
func do(ctx context.Context, line *config.CommandLine, log *slog.Logger) error {
	switch line.Command {
	case "demo":
		return demo.Run(ctx, line.Config, built.Version, line.Demo.Open, os.Stdout, log)
	case "top":
		address, _ := line.Admin.Address()
		return top.Run(ctx, top.Options{
			URL: line.Top.URL, Tenant: line.Top.Tenant, Listen: address, Token: string(line.Admin.Token), Once: line.Top.Once,
			In: os.Stdin, Out: os.Stdout,
		})
	}
	return command.Run(ctx, line, log, os.Stdin, os.Stdout)
}

// warnOfEnvironment warns of variables that look like misspelt settings, and of secrets in files that everybody may
// read. It shows no value, since that may be a secret.
func warnOfEnvironment(log *slog.Logger) {
	misspelt, err := config.Misspellings(os.Environ())
	if err != nil {
		log.Warn("the environment was not checked for misspelt settings", "error", err)
	}
	for _, m := range misspelt {
		log.Warn("an environment variable is ignored: its name is nearly that of a setting",
			"variable", m.Given, "setting", m.Meant)
	}
	open, err := config.OpenSecrets(os.Environ())
	if err != nil {
		log.Warn("the files of secrets were not checked for who may read them", "error", err)
	}
	for _, name := range open {
		log.Warn("every user of this machine may read a secret's file: take that right away "+
			"(chmod o-r; defaultMode: 0440 in Kubernetes)", "variable", name)
	}
}

// serve runs the gateway until ctx ends, then drains it and waits for running executions.
func serve(ctx context.Context, signals *shutdown.Signals, line *config.CommandLine, log *slog.Logger) error {
	c, files := &line.Config, reload.See(line.Watched)
	hangup := make(chan os.Signal, 1) // made first: a hangup would end the program, even while executions finish
	if len(line.Watched) > 0 {
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
	}
	log.Info("starting", "version", built.Version, "logic", logicNames(c))
	backends := new(watch.Backends)
	gateway, err := handler.OpenFor(ctx, *c, chooser{c, backends, log}.choose, log)
	if err != nil {
		return err
	}
	if err := trace(gateway, log); err != nil {
		log.Warn("traces are off", "error", err)
	}
	listener, err := net.Listen("tcp", c.HTTP.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("LISTEN %s: %w", c.HTTP.Listen, err), gateway.Close())
	}
	watchers, err := watch.Open(watch.Gateway{
		Config: c, Watch: gateway.Watch(), Backends: backends, Address: listener.Addr(), Version: built.Version,
	}, log)
	if err != nil {
		return errors.Join(err, listener.Close(), gateway.Close())
	}
	gateway.AtEnd(watchers.Close)
	if c.Redis.Embedded() {
		invite(listener.Addr(), c.HTTP)
	}
	serving, end := context.WithCancel(context.Background())
	defer end()
	defer context.AfterFunc(ctx, func() {
		signals.Drain(gateway.Drain, log)
		end()
	})()
	if len(line.Watched) > 0 {
		var watching sync.WaitGroup
		defer watching.Wait()
		watching.Go(func() { follow(serving, gateway, files, hangup, log) })
	}
	return gateway.Serve(serving, listener)
}

// trace makes the gateway send traces, if the environment wants that.
func trace(gateway *handler.Gateway, log *slog.Logger) error {
	tracer, err := tracing.Open(tracing.Options{
		Version: built.Version, Replica: gateway.Watch().Replica, Getenv: os.Getenv, Log: log,
	})
	if tracer != nil {
		gateway.Trace(tracer)
	}
	return err
}

// lookAtFiles is how often the file of settings, and the files that it names, are checked for changes.
const lookAtFiles = 5 * time.Second

// follow brings settings into force when their files change, or at SIGHUP. If they make no sense, nothing changes.
func follow(
	ctx context.Context, gateway *handler.Gateway, files reload.Files, hangup <-chan os.Signal, log *slog.Logger,
) {
	files.Watch(ctx, lookAtFiles, hangup, func() []string {
		next, err := config.Parse(os.Args[1:], os.Getenv, built.String())
		if err != nil {
			gateway.ReloadFailed()
		} else {
			err = gateway.Reload(next.Config)
		}
		if err != nil {
			log.Error("the new settings were not taken, and those before them stay in force", "error", err)
			return nil
		}
		log.Info("the new settings are in force", "tenants", len(next.Tenants))
		return next.Watched
	})
}

// chooser chooses the logic of tenants.
type chooser struct {
	config   *config.Config
	backends *watch.Backends // gets the backends that it chooses
	log      *slog.Logger
}

// choose returns the logic that a tenant's settings name, and a function that ends it: the backend of UPSTREAM_URL or,
// without one, echo.
func (c chooser) choose(t *config.Tenant) (chosen logic.Logic, end func(), err error) {
	log := c.log
	if t.Name != "" {
		log = log.With("tenant", t.Name)
	}
	if t.Upstream.URL == "" {
		if !c.config.Redis.Embedded() {
			log.Warn("THE LOGIC IS ECHO, for trying out: webhooks are answered and nothing is done; set UPSTREAM_URL")
		}
		c.backends.Remove(t.Name)
		return logic.Echo{Delay: c.config.Echo.Delay}, func() {}, nil
	}
	backend, err := newBackend(t, log)
	if err != nil {
		return nil, nil, err
	}
	c.backends.Add(t.Name, backend)
	return backend, backend.Close, nil
}

// logicNames says which logic runs. It leaves out the parts of a URL that may be secret.
func logicNames(c *config.Config) string {
	if len(c.Tenants) > 0 {
		return fmt.Sprintf("that of %d tenants", len(c.Tenants))
	}
	if c.Upstream.URL == "" {
		return "echo"
	}
	u, err := url.Parse(c.Upstream.URL)
	if err != nil {
		return "a backend"
	}
	return "backend " + u.Host
}

// newBackend returns the logic that forwards webhooks to a tenant's backend.
func newBackend(t *config.Tenant, log *slog.Logger) (*upstream.Upstream, error) {
	u := t.Upstream
	secured, err := tlsfile.Load(u.TLSCA, u.TLSCert, u.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("TLS to the backend (UPSTREAM_TLS_…): %w", err)
	}
	o := upstream.Options{
		URL: u.URL, StatusURL: u.StatusURL, KeyHeader: u.KeyHeader, UUID: u.KeyFormat == config.KeyUUID,
		Headers: u.StaticHeaders(), Keep: u.KeptHeaders(),
		Passthrough: t.HTTP.ResponseMode == config.Passthrough, MaxResultBytes: int(t.Execution.MaxResultBytes),
		BreakerFailures: u.BreakerFailures, BreakerPause: u.BreakerPause, IdleTimeout: u.IdleTimeout, TLS: secured, Log: log,
	}
	if u.OAuthTokenURL != "" {
		o.OAuth = &clientcredentials.Config{
			TokenURL: u.OAuthTokenURL, ClientID: u.OAuthClientID, ClientSecret: string(u.OAuthClientSecret), Scopes: u.Scopes(),
		}
	}
	return upstream.New(o)
}

// invite prints a command to try.
func invite(addr net.Addr, c config.HTTP) {
	_, port, _ := net.SplitHostPort(addr.String())
	at, key := "localhost:"+port, ""
	if c.TLSCert != "" {
		at = "-k https://" + at
	}
	if c.InboundAPIKeys != "" {
		key = " -H 'X-API-Key: <one of INBOUND_API_KEYS>'"
	}
	fmt.Printf(`Try it, twice:
  curl -i %s/webhook/cognigy%s -H 'Content-Type: application/json' \
    -d '{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"variables":{"seats":2}}'
`, at, key)
}
