// Oncegate stands in front of a webhook's business logic: it runs once, and every duplicate gets the same answer.
//
// main reads the configuration, chooses the logic, and runs a gateway before it until a signal. README.md shows how to
// use it, docs/design.md how it works.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // only to silence it
	"log/slog"
	"net"
	"os"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/logs"
)

// version is set by the linker (-ldflags "-X main.version=…").
var version = "development"

func main() {
	line, err := config.Parse(os.Args[1:], os.Getenv, version)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, signals := signalled(line.Command == "serve" && line.HTTP.DrainDelay > 0)

	// net/http writes there by itself, and quotes what a backend sent.
	log.SetOutput(io.Discard)
	log := logs.New(line.Log, os.Stderr)
	if line.Command != "health" { // which is asked every few seconds, and says one line
		warnOfEnvironment(log)
	}
	if line.Command != "serve" {
		if err := run(ctx, line, log); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// A signal before it listens ends it as well as any other: there is nothing to finish.
	if err := serve(ctx, signals, &line.Config, log); err != nil && !errors.Is(err, context.Canceled) {
		log.Error("oncegate stops", "error", err)
		os.Exit(1)
	}
	log.Info("bye")
}

// warnOfEnvironment says which variables were probably meant for us, and which secrets lie open. It shows no value,
// since that may be a secret.
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

// serve runs the gateway until ctx ends, then drains it and lets what runs finish.
func serve(ctx context.Context, signals chan os.Signal, c *config.Config, log *slog.Logger) error {
	chosen, closeLogic, err := chooseLogic(c, log)
	if err != nil {
		return err
	}
	defer closeLogic()
	gateway, err := handler.Open(ctx, *c, chosen, log)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.HTTP.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("LISTEN %s: %w", c.HTTP.Listen, err), gateway.Close())
	}
	if c.Redis.Embedded() {
		invite(listener.Addr(), c.HTTP.InboundAPIKeys != "")
	}
	serving, end := context.WithCancel(context.Background())
	defer end()
	defer context.AfterFunc(ctx, func() {
		drain(gateway, c.HTTP.DrainDelay, signals, log)
		end()
	})()
	return gateway.Serve(serving, listener)
}

// invite says what to try.
func invite(addr net.Addr, keyed bool) {
	_, port, _ := net.SplitHostPort(addr.String())
	key := ""
	if keyed {
		key = " -H 'X-API-Key: <one of INBOUND_API_KEYS>'"
	}
	fmt.Printf(`Try it, twice:
  curl -i localhost:%s/webhook/cognigy%s -H 'Content-Type: application/json' \
    -d '{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"variables":{"seats":2}}'
`, port, key)
}
