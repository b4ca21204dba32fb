package reload_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/reload"
)

func TestFilesAreTakenAgainWhenTheirContentChangesAndAtASignal(t *testing.T) {
	path := func(name string) string { return filepath.Join(t.TempDir(), name) }
	one, other := path("one"), path("other")
	write := func(path, text string) { // at once: nobody sees half of it
		t.Helper()
		fresh := path + ".new"
		if err := errors.Join(os.WriteFile(fresh, []byte(text), 0o600), os.Rename(fresh, path)); err != nil {
			t.Fatal(err)
		}
	}
	write(one, "a")
	ctx, stop := context.WithCancel(t.Context())
	now, taken, next := make(chan os.Signal, 1), make(chan struct{}), []string(nil)
	ended := make(chan struct{})
	files := reload.See([]string{one})
	write(one, "before it is watched")
	go func() {
		defer close(ended)
		files.Watch(ctx, time.Millisecond, now, func() []string { taken <- struct{}{}; return next })
	}()
	expect := func(what string) {
		t.Helper()
		select {
		case <-taken:
		case <-time.After(30 * time.Second):
			t.Fatalf("never: %s", what)
		}
	}
	quiet := func() {
		t.Helper()
		select {
		case <-taken:
			t.Fatal("nothing has changed")
		case <-time.After(50 * time.Millisecond):
		}
	}
	expect("a change while the program started")
	quiet()
	write(one, "before it is watched") // another time, the same content
	quiet()
	write(one, "b")
	next = []string{one, other}
	expect("a change")
	quiet()
	write(other, "c")
	expect("a change of a file that the first one names")
	now <- syscall.SIGHUP
	expect("a signal")
	stop()
	<-ended
}
