package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oncegate/oncegate/internal/config"
)

func TestEverySecretMayStandInAFile(t *testing.T) {
	for _, name := range secrets {
		for _, end := range []string{"", "\n", "\r\n\n"} {
			others := companions(name)
			delete(others, name)
			byVariable := mustParse(t, nil, others.with(env{name: setting[name]}))
			byFile := mustParse(t, nil, others.with(env{name + "_FILE": file(t, setting[name]+end)}))
			equal(t, byFile.Config, byVariable.Config)
		}
	}
}

func TestASecretInAFileIsKeptAsItIs(t *testing.T) {
	for _, password := range []string{" s3cret ", "a,b\nc", strings.Repeat("a", 64<<10)} {
		equal(t, string(mustParse(t, nil, env{"REDIS_HOST": "h", "REDIS_PASSWORD_FILE": file(t, password)}).Redis.Password),
			password)
	}
}

func TestWhoWinsOverASecretInAFile(t *testing.T) {
	t.Run("a flag", func(t *testing.T) {
		line := mustParse(t, []string{"--redis-password=flag"}, env{"REDIS_HOST": "h", "REDIS_PASSWORD": "x",
			"REDIS_PASSWORD_FILE": "nowhere"})
		equal(t, string(line.Redis.Password), "flag")
	})
	t.Run("nobody else", func(t *testing.T) {
		message := refused(t, nil, env{"REDIS_HOST": "h", "REDIS_PASSWORD": "s3cret",
			"REDIS_PASSWORD_FILE": file(t, "s3cret")})
		equal(t, message, "REDIS_PASSWORD and REDIS_PASSWORD_FILE are both given: keep one")
	})
	t.Run("an empty variable is absent", func(t *testing.T) {
		line := mustParse(t, nil, env{"REDIS_HOST": "h", "REDIS_PASSWORD": "", "REDIS_PASSWORD_FILE": file(t, "p")})
		equal(t, string(line.Redis.Password), "p")
		line = mustParse(t, nil, env{"REDIS_HOST": "h", "REDIS_PASSWORD": "p", "REDIS_PASSWORD_FILE": ""})
		equal(t, string(line.Redis.Password), "p")
	})
	t.Run("what is no secret has no file", func(t *testing.T) {
		equal(t, mustParse(t, nil, env{"LISTEN_FILE": "nowhere", "REDIS_HOST_FILE": "nowhere"}).Config,
			mustParse(t, nil, nil).Config)
	})
}

func TestAFileWithoutASecretIsRefused(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for path, says := range map[string]string{
		missing:           "no such file",
		t.TempDir():       "directory",
		pipe(t):           "no regular file",
		"/dev/zero":       "no regular file",
		file(t, ""):       "empty",
		file(t, "\n\r\n"): "empty",
		file(t, "s3cret"+strings.Repeat("a", 64<<10)): "larger than 64KiB",
	} {
		message := refused(t, nil, env{"REDIS_HOST": "h", "REDIS_PASSWORD_FILE": path})
		contains(t, message, "REDIS_PASSWORD_FILE is ", path, says)
		equal(t, strings.Count(message, path), 1)
		equal(t, strings.Contains(message, "s3cret"), false)
	}
	t.Run("and not shown where it is the secret", func(t *testing.T) {
		equal(t, strings.Contains(refused(t, nil, env{"REDIS_URL_FILE": "redis://:s3cret@h"}), "s3cret"), false)
	})
	t.Run("as is a bad value in a file", func(t *testing.T) {
		message := refused(t, nil, env{"REDIS_URL_FILE": file(t, "http://:s3cret@h")})
		contains(t, message, "REDIS_URL is not one that we know")
		equal(t, strings.Contains(message, "s3cret"), false)
	})
}

func TestASecretMayStandBehindLinks(t *testing.T) {
	dir := t.TempDir() // as Kubernetes mounts it
	for name, leads := range map[string]string{"..data": filepath.Dir(file(t, "p")), "password": "..data/secret"} {
		if err := os.Symlink(leads, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	line := mustParse(t, nil, env{"REDIS_HOST": "h", "REDIS_PASSWORD_FILE": filepath.Join(dir, "password")})
	equal(t, string(line.Redis.Password), "p")
}

func TestASecretThatAllMayReadIsNamed(t *testing.T) {
	closed, open := file(t, "s"), file(t, "s")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	names, err := config.OpenSecrets([]string{
		"REDIS_PASSWORD_FILE=" + closed, "INBOUND_API_KEYS_FILE=" + open, "REDIS_URL_FILE=", "UPSTREAM_HEADERS_FILE=/nowhere",
		"OTHER_FILE=" + open, "LISTEN_FILE=" + open, "REDIS_PASSWORD=" + open,
	})
	equal(t, err, nil)
	equal(t, names, []string{"INBOUND_API_KEYS_FILE"})
}

// pipe returns the path of a pipe that nobody writes to.
func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// file returns the path of a file with this content.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
