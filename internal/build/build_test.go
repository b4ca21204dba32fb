package build

import (
	"runtime/debug"
	"testing"
)

func TestWhatAProgramWasBuiltFrom(t *testing.T) {
	commit := []debug.BuildSetting{
		{Key: "vcs.revision", Value: "6bf46b7c1e2a0f0e0d0c0b0a090807060504030f"},
		{Key: "vcs.time", Value: "2026-11-26T10:08:12Z"},
	}
	for name, c := range map[string]struct {
		info   debug.BuildInfo
		linked string
		want   string
	}{
		"in a clone, at a tag": {info: debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.0"},
			Settings: commit}, want: "v1.2.0 (commit 6bf46b7c1e2a of 2026-11-26T10:08:12Z, go1.26.8)"},
		"by go install": {info: debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.0"}},
			want: "v1.2.0 (go1.26.8)"},
		"of a tree without history": {info: debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "(devel)"}},
			want: "development (go1.26.8)"},
		"of such a tree, with a version": {info: debug.BuildInfo{GoVersion: "go1.26.8",
			Main: debug.Module{Version: "(devel)"}}, linked: "v1.2.0", want: "v1.2.0 (go1.26.8)"},
		"by a builder that tells nothing": {want: "development"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := read(&c.info, c.linked).String(); got != c.want {
				t.Errorf("it says %q, want %q", got, c.want)
			}
		})
	}
}
