package contender

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/oncegate/oncegate/bench/process"
)

// build compiles a package of this module, or the gateway in the directory above it.
func build(name, where string) func(context.Context, string) error {
	return func(ctx context.Context, bin string) error {
		dir, target := ".", where
		if where == ".." {
			dir, target = "..", "."
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(bin, name), target)
		cmd.Dir = dir
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go then removes its temporary files
		cmd.WaitDelay = 5 * time.Second
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building it: %w: %.500s", err, output)
		}
		return nil
	}
}

func bare(o options) (*process.Process, error) {
	return process.Start(o.dir, []string{"LISTEN=" + o.address, "ANSWER=" + string(Envelope(0))},
		filepath.Join(o.bin, "bare"))
}

func golang(name string) func(options) (*process.Process, error) {
	return func(o options) (*process.Process, error) {
		return process.Start(o.dir, []string{"LISTEN=" + o.address, "REDIS_ADDRESS=" + o.redis, "DELAY=" + o.delay.String()},
			filepath.Join(o.bin, name))
	}
}

func oncegate(o options) (*process.Process, error) {
	return process.Start(o.dir, []string{
		"LISTEN=" + o.address, "ADMIN_LISTEN=off", "REDIS_URL=redis://" + o.redis, "LOG_LEVEL=error",
		"ECHO_DELAY=" + o.delay.String(),
		// While one contender is measured, others are idle: no sweep of theirs may fall into its turn.
		"SWEEP_INTERVAL=" + time.Hour.String(),
	}, filepath.Join(o.bin, "oncegate"))
}

// without runs Oncegate without one of the features that make it fast (peers/oncegate).
func without(what string) func(options) (*process.Process, error) {
	return func(o options) (*process.Process, error) {
		return process.Start(o.dir, []string{
			"LISTEN=" + o.address, "ADMIN_LISTEN=off", "REDIS_URL=redis://" + o.redis, "ECHO_DELAY=" + o.delay.String(),
			"WITHOUT=" + what,
		}, filepath.Join(o.bin, "without"))
	}
}
