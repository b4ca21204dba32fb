// Package secretfile reads files that hold secrets, as Docker and Kubernetes mount them and as people write them by
// hand.
package secretfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Max is the size in bytes that a file may have.
const Max = 64 << 10

// Read returns what a file holds. Links are followed, since Kubernetes mounts secrets as such. What is no regular file
// is not opened: a pipe nobody writes to would hold up the start for ever. An error does not name the path.
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
