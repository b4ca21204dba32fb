package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/oncegate/oncegate/internal/secretfile"
)

// fileSuffix, behind the variable of a secret, makes the name of the variable that holds the path of the secret's file.
const fileSuffix = "_FILE"

func isSecret(flag *kong.Flag) bool { return flag.Target.Type() == reflect.TypeFor[Secret]() }

// secretFromFile reads the secret of a setting from a file, as Docker and Kubernetes mount it. An empty file is an
// error: a person who names a file expects a secret in it.
func secretFromFile(name string, getenv func(string) string) (string, error) {
	if getenv(name) != "" {
		return "", badValue(fmt.Sprintf("%[1]s and %[1]s%[2]s are both given: keep one", name, fileSuffix))
	}
	path := getenv(name + fileSuffix)
	text, err := readSecret(path)
	if err == nil {
		return text, nil
	}
	if secretive.MatchString(path) { // somebody gave the secret in place of the path
		path = hidden
	}
	return "", badValue(fmt.Sprintf("%s%s is %q: must be a file with a secret (%v)", name, fileSuffix, path, err))
}

// readSecret returns the content of a file without the newlines at its end.
func readSecret(path string) (string, error) {
	content, err := secretfile.Read(path)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(content), "\r\n")
	if text == "" {
		return "", errors.New("empty")
	}
	return text, nil
}

// OpenSecrets returns the names of variables, such as REDIS_PASSWORD_FILE, whose file every user of the machine may
// read. environ is the environment in the form of os.Environ.
func OpenSecrets(environ []string) (names []string, err error) {
	ours, err := variables()
	if err != nil {
		return nil, err
	}
	for _, entry := range environ {
		name, path, _ := strings.Cut(entry, "=")
		secret, isFile := strings.CutSuffix(name, fileSuffix)
		if isFile && slices.Contains(ours, secret) && slices.Contains(ours, name) && secretfile.Exposed(path) {
			names = append(names, name)
		}
	}
	return names, nil
}
