package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
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

// readSecret returns all that a file holds, but for the newlines at its end.
func readSecret(path string) (string, error) {
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
