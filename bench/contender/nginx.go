package contender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"

	"github.com/oncegate/oncegate/bench/peers"
	"github.com/oncegate/oncegate/bench/process"
)

// nginxModules are the paths of modules as Debian installs them; Lua needs the one before it.
var nginxModules = []string{"/usr/lib/nginx/modules/ndk_http_module.so",
	"/usr/lib/nginx/modules/ngx_http_lua_module.so"}

func nginxPackages(context.Context, string) error {
	needed := append([]string{
		"/usr/share/lua/5.1/nginx/redis.lua", "/usr/share/lua/5.1/nginx/sha256.lua", "/usr/share/lua/5.1/nginx/string.lua",
	}, nginxModules...)
	missing := false
	for _, file := range needed {
		if _, err := os.Stat(file); err != nil {
			missing = true
		}
	}
	if _, err := nginxPath(); err != nil || missing {
		return errors.New("it takes the Debian packages nginx, libnginx-mod-http-lua, lua-nginx-redis, lua-nginx-string " +
			"and lua-cjson, which ./install.sh brings")
	}
	return nil
}

// nginxPath returns the path of nginx. It also looks in /usr/sbin, which is in few people's PATH.
func nginxPath() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/nginx")
}

func nginx(o options) (*process.Process, error) {
	path, err := nginxPath()
	if err != nil {
		return nil, err
	}
	_, redisPort, err := net.SplitHostPort(o.redis)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(o.dir, "gate.lua"), peers.NginxGate, 0o600); err != nil {
		return nil, err
	}
	file := filepath.Join(o.dir, "nginx.conf")
	config, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	filled := template.Must(template.New("nginx.conf").Parse(peers.NginxConfig)).Execute(config, map[string]any{
		"Dir": o.dir, "Listen": o.address, "RedisPort": redisPort, "Delay": o.delay.Seconds(), "Modules": nginxModules,
		"Root": os.Geteuid() == 0,
	})
	if err := errors.Join(filled, config.Close()); err != nil {
		return nil, fmt.Errorf("writing %s: %w", file, err)
	}
	return process.Start(o.dir, nil, path, "-p", o.dir, "-c", file, "-e", filepath.Join(o.dir, "error.log"))
}
