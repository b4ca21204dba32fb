// Package reload notices that files have changed, by their content: what mounts them may keep times and names.
package reload

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// Files are some with what they held when they were read.
type Files struct {
	paths []string
	held  [sha256.Size]byte
}

// See returns files as they are, so that a change from now on is noticed.
func See(paths []string) Files { return Files{paths, sumsOf(paths)} }

// Watch calls take when one of the files has changed, looking every so often, and at once when something comes from
// now. take returns the files that are to be watched from then on. Watch returns when ctx ends.
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
		f = See(f.paths) // before they are read: a change meanwhile is another one
		if next := take(); next != nil {
			f = See(next)
		}
	}
}

// sumsOf is a sum over what files hold; one that can't be read counts as empty.
func sumsOf(files []string) [sha256.Size]byte {
	all := sha256.New()
	for _, path := range files {
		text, _ := os.ReadFile(path)
		sum := sha256.Sum256(text)
		all.Write(sum[:])
	}
	return [sha256.Size]byte(all.Sum(nil))
}
