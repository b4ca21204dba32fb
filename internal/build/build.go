// Package build knows what a program was built from: for --version, the log, the metrics and the dashboard.
package build

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"strings"
)

// Build describes what a program was built from. A field that is not known is empty.
type Build struct {
	// Version is a tag such as v1.2.0, a version that Go makes of a commit (v0.0.0-20261126100812-6bf46b7c1e2a), or
	// "development". It ends in +dirty if files were changed that no commit has.
	Version string
	// Commit is the whole hash. Go does not tell it to a program that go install built.
	Commit string
	// Date is the date of that commit, in RFC 3339.
	Date string
	// Go is the version of Go that built the program.
	Go string
}

// Of returns what Go wrote into the running program. A version that the linker set replaces Go's, for builds of a
// source tree without its history.
func Of(linked string) Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	return read(info, linked)
}

func read(info *debug.BuildInfo, linked string) Build {
	b := Build{Version: cmp.Or(linked, info.Main.Version), Go: info.GoVersion}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "development"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		}
	}
	return b
}

// String returns the build in one line, such as "v1.2.0 (commit 6bf46b7c1e2a of 2026-11-26T10:08:12Z, go1.26.8)".
func (b Build) String() string {
	var known []string
	if b.Commit != "" {
		known = append(known, fmt.Sprintf("commit %.12s of %s", b.Commit, b.Date))
	}
	if b.Go != "" {
		known = append(known, b.Go)
	}
	if len(known) == 0 {
		return b.Version
	}
	return b.Version + " (" + strings.Join(known, ", ") + ")"
}
