package contender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/oncegate/oncegate/bench/peers"
	"github.com/oncegate/oncegate/bench/process"
)

// interpreters are tried in turn: the first Python in PATH may be another one than the one that Debian's packages are
// for.
var interpreters = []string{"python3", "/usr/bin/python3"}

func interpreter(ctx context.Context) (string, error) {
	for _, path := range interpreters {
		if exec.CommandContext(ctx, path, "-c", "import fastapi, uvicorn, redis.asyncio").Run() == nil {
			return path, nil
		}
	}
	return "", errors.New("it takes the Debian packages python3-fastapi, python3-uvicorn and python3-redis, which " +
		"./install.sh brings")
}

func pythonPackages(ctx context.Context, _ string) error {
	_, err := interpreter(ctx)
	return err
}

func python(o options) (*process.Process, error) {
	path, err := interpreter(context.Background())
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(o.address)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(o.dir, "app.py"), peers.PythonApp, 0o600); err != nil {
		return nil, err
	}
	return process.Start(o.dir, []string{"REDIS_URL=redis://" + o.redis,
		fmt.Sprintf("DELAY_SECONDS=%g", o.delay.Seconds())},
		path, "app.py", host, port)
}
