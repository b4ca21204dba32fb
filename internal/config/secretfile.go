package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// fileSuffix makes a secret's variable the one that names a file which holds the secret.
const fileSuffix = "_FILE"

const maxSecretFile = 64 * KiB

func isSecret(flag *kong.Flag) bool { return flag.Target.Type() == reflect.TypeFor[Secret]() }

// secretFromFile reads the secret of a setting as Docker and Kubernetes mount it. An empty file is an error: whoever
// named it counts on a secret.
func secretFromFile(name string, getenv func(string) string) (string, error) {
	if getenv(name) != "" {
		return "", badValue(fmt.Sprintf("%[1]s and %[1]s%[2]s are both given: keep one", name, fileSuffix))
	}
	path := getenv(name + fileSuffix)
	text, err := readSecret(path)
	if err == nil {
		return text, nil
	}
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err // it is to name the path once
	}
	if secretive.MatchString(path) { // the secret itself where its file's path belongs
		path = hidden
	}
	return "", badValue(fmt.Sprintf("%s%s is %q: must be a file with a secret (%v)", name, fileSuffix, path, err))
}

// readSecret returns all that a file holds, but for the newlines at its end. Links are followed, since Kubernetes mounts
// secrets as such. What is no regular file is not opened: a pipe nobody writes to would hold up the start for ever.
func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return "", errors.New("a directory")
	case !info.Mode().IsRegular():
		return "", errors.New("a pipe, a socket or a device, and no regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, int64(maxSecretFile)+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(content), "\r\n")
	switch {
	case len(content) > int(maxSecretFile):
		return "", fmt.Errorf("larger than %v", maxSecretFile)
	case text == "":
		return "", errors.New("empty")
	}
	return text, nil
}

// OpenSecrets returns the variables, such as REDIS_PASSWORD_FILE, that name a secret's file which everybody on the machine
// may read. environ is the environment, as os.Environ returns it.
func OpenSecrets(environ []string) (names []string, err error) {
	ours, err := variables()
	if err != nil {
		return nil, err
	}
	for _, entry := range environ {
		name, path, _ := strings.Cut(entry, "=")
		if !strings.HasSuffix(name, fileSuffix) || !slices.Contains(ours, name) {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&readableByAll != 0 {
			names = append(names, name)
		}
	}
	return names, nil
}

const readableByAll fs.FileMode = 0o004
