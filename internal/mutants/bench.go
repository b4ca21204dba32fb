package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// buildTimeout bounds the building of one package's tests.
const buildTimeout = 5 * time.Minute

// The timeouts of tests. firstTimeout bounds a test that has not run before. With a mutant a test may take timesSlower
// times as long as without it, and slack more.
const (
	firstTimeout = 5 * time.Minute
	slack        = 30 * time.Second
	timesSlower  = 5
)

// bench is a copy of the tree in which mutants are tried.
type bench struct {
	dir     string // holds the copy, and the test program that was built last
	without map[test]trial
}

// trial is the outcome of one run of a test.
type trial struct {
	red  bool
	why  error // why the outcome says nothing (the test is missing, was skipped or did not run); nil: it counts
	took time.Duration
}

// newBench copies the git repository that a folder belongs to: all files except those that git ignores.
func newBench(ctx context.Context, folder string) (*bench, error) {
	git := func(dir string, args ...string) (string, error) {
		command := exec.CommandContext(ctx, "git", args...)
		command.Dir = dir
		text, err := command.Output()
		if err != nil {
			return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
		}
		return string(text), nil
	}
	root, err := git(folder, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	root = strings.TrimSuffix(root, "\n")
	files, err := git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	b, err := emptyBench()
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(files, "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, name), b.path(name)); err != nil {
			b.remove()
			return nil, err
		}
	}
	return b, nil
}

func emptyBench() (*bench, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	return &bench{dir: dir, without: make(map[test]trial)}, nil
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, "tree", name) }

func (b *bench) program() string { return filepath.Join(b.dir, "tests") }

func (b *bench) remove() { _ = os.RemoveAll(b.dir) }

// copyFile copies a regular file. It skips a path that does not exist or is not a regular file.
func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, os.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

// tryWithout runs all tests of the mutants without any fault: only a test that passes then says something with a fault.
func (b *bench) tryWithout(ctx context.Context, mutants []mutant) {
	built := ""
	var unbuilt error
	for _, dir := range foldersOf(mutants) {
		for i := range mutants {
			for _, t := range mutants[i].tests {
				if _, known := b.without[t]; known || t.dir != dir {
					continue
				}
				if built != dir {
					built, unbuilt = dir, b.build(ctx, dir)
				}
				tried := trial{why: unbuilt}
				if unbuilt == nil {
					tried = b.try(ctx, t, firstTimeout)
				}
				b.without[t] = tried
			}
		}
	}
}

func foldersOf(mutants []mutant) (dirs []string) {
	known := make(map[string]bool)
	for i := range mutants {
		for _, t := range mutants[i].tests {
			if !known[t.dir] {
				known[t.dir] = true
				dirs = append(dirs, t.dir)
			}
		}
	}
	return dirs
}

// build builds the test program of a package. It leaves paths out of the program, so that Go's build cache serves every
// copy of the tree.
func (b *bench) build(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	if err := os.RemoveAll(b.program()); err != nil { // the program of another package
		return err
	}
	command := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", b.program(), "./"+dir)
	command.Dir = b.path("")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(output))
	}
	if _, err := os.Stat(b.program()); err != nil {
		return fmt.Errorf("%s has no tests: %w", dir, err)
	}
	return nil
}

// try runs one test of the program that was built last. Every process that it started, such as a redis-server, ends
// with it.
func (b *bench) try(ctx context.Context, t test, timeout time.Duration) trial {
	ctx, cancel := context.WithTimeout(ctx, timeout+slack)
	defer cancel()
	command := exec.CommandContext(ctx, b.program(), "-test.v", "-test.count=1",
		"-test.run="+pattern(t.name), "-test.timeout="+timeout.String())
	command.Dir = b.path(t.dir)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	killAll := func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.Cancel, command.WaitDelay = killAll, time.Second
	began := time.Now()
	err := command.Run()
	tried := trial{red: err != nil, took: time.Since(began)}
	if command.Process == nil {
		tried.why = err
		return tried
	}
	_ = killAll()
	switch {
	case !said(output.Bytes(), "=== RUN +", t.name, "$"):
		tried.why = fmt.Errorf("%s has no test %s, or it did not run: %s", t.dir, t.name, lastLine(output.Bytes()))
	case said(output.Bytes(), " *--- SKIP: ", t.name, " "):
		tried.why = fmt.Errorf("%s was skipped", t.name)
	}
	return tried
}

// pattern returns the -test.run pattern that matches one test or subtest and no other.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// said reports whether a line of a test's output has the test's name between two patterns.
func said(output []byte, before, name, behind string) bool {
	return regexp.MustCompile("(?m)^" + before + regexp.QuoteMeta(name) + behind).Match(output)
}

func lastLine(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return lines[len(lines)-1]
}
