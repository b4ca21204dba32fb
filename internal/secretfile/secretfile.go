// Package secretfile reads files that hold secrets, whether Docker or Kubernetes mounts them or a person wrote them.
package secretfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Max bounds the size of a file, in bytes.
const Max = 64 << 10

// Read returns the content of a file. It follows links, because Kubernetes mounts secrets as links. It does not open
// anything but a regular file: a pipe that nobody writes to would block the start for ever. Its errors do not name the
// path.
func Read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, cause(err)
	case info.IsDir():
		return nil, errors.New("a directory")
	case !info.Mode().IsRegular():
		return nil, errors.New("a pipe, a socket or a device, and no regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, Max+1))
	if err != nil {
		return nil, cause(err)
	}
	if len(content) > Max {
		return nil, fmt.Errorf("larger than %dKiB", Max>>10)
	}
	return content, nil
}

// Exposed reports whether every user of the machine may read a file.
func Exposed(path string) bool {
	const others = 0o004
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&others != 0
}

func cause(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}
