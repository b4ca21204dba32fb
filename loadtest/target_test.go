package main

import (
	"strings"
	"testing"
)

func TestOnlyLoopbackIsLoaded(t *testing.T) {
	for _, c := range []struct {
		target string
		owned  bool
		want   string // the address, or a part of the error
	}{
		{"http://127.0.0.1:8000", false, "http://127.0.0.1:8000/webhook/cognigy"},
		{"http://localhost:8000/", false, "http://localhost:8000/webhook/cognigy"},
		{"http://[::1]:8000/other#x", false, "http://[::1]:8000/other"},
		{"http://192.0.2.7:8000", true, "http://192.0.2.7:8000/webhook/cognigy"},
		{"https://gate.example/hooks", true, "https://gate.example/hooks"},

		{"http://192.0.2.7:8000", false, "--i-own-this-target"},
		{"http://0.0.0.0:8000", false, "--i-own-this-target"},
		{"http://[2001:db8::1]:8000", false, "--i-own-this-target"},
		{"localhost:8000", false, "want http://host:port"},
		{"unix:///tmp/socket", true, "want http://host:port"},
		{"http://", true, "want http://host:port"},
	} {
		got, err := address(t.Context(), c.target, pathOf(""), c.owned)
		if got != c.want && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, owned %v: got %q, %v; want %q", c.target, c.owned, got, err, c.want)
		}
	}
	if _, err := played(t, t.TempDir(), "storm", "--target", shared.Targets("")[0], "--target",
		"http://192.0.2.7:8000"); err == nil ||
		!strings.Contains(err.Error(), "192.0.2.7, not on loopback") {
		t.Errorf("the second target is not refused: %v", err)
	}
}
