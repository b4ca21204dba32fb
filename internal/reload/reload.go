// Package reload notices that files have changed, by their content: the program that mounts them may keep times and
// names.
package reload

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// Files are files with a hash of their contents when they were read.
type Files struct {
	paths []string
	held  [sha256.Size]byte
}

// See returns files with their present contents, so that a change from now on is noticed.
func See(paths []string) Files { return Files{paths, sumsOf(paths)} }

// Watch calls take when one of the files has changed. It checks every so often, and at once when a signal comes from
// now. take returns the files to watch from then on. Watch returns when ctx ends.
func (f Files) Watch(ctx context.Context, every time.Duration, now <-chan os.Signal, take func() []string) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-now:
		case <-tick.C:
			if sumsOf(f.paths) == f.held {
				continue
			}
		}
		f = See(f.paths) // before take reads them: a change meanwhile is noticed next time
		if next := take(); next != nil {
			f = See(next)
		}
	}
}

// sumsOf returns a hash of the contents of files; a file that cannot be read counts as empty.
func sumsOf(files []string) [sha256.Size]byte {
	all := sha256.New()
	for _, path := range files {
		text, _ := os.ReadFile(path)
		sum := sha256.Sum256(text)
		all.Write(sum[:])
	}
	return [sha256.Size]byte(all.Sum(nil))
}
