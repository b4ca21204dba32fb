package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/config"
)

func TestThePageAndTheCompletionsHaveEveryCommandAndFlag(t *testing.T) {
	folder := t.TempDir()
	if err := write(folder); err != nil {
		t.Fatal(err)
	}
	model, err := config.Model()
	if err != nil {
		t.Fatal(err)
	}
	for name := range writers {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.ReplaceAll(string(text), `\-`, "-")
		if name == "oncegate.fish" { // it writes flags without their hyphens
			plain = strings.ReplaceAll(plain, " -l ", " --")
		}
		flags := model.Flags
		for _, command := range model.Children {
			if !strings.Contains(plain, command.Name) {
				t.Errorf("%s lacks the command %s", name, command.Name)
			}
			flags = slices.Concat(flags, command.Flags)
		}
		for _, flag := range flags {
			if has := strings.Contains(plain, "--"+flag.Name); has == flag.Hidden {
				t.Errorf("%s has --%s: %v", name, flag.Name, has)
			}
		}
	}
}

// TestBashCompletes lets bash itself complete. (The tests of the packages try zsh and fish.)
func TestBashCompletes(t *testing.T) {
	folder := t.TempDir()
	if err := write(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "settings.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"oncegate st":                      "stats",
		"oncegate fo":                      "forget",
		"oncegate --redis-pat":             "--redis-patience",
		"oncegate stats --js":              "--json",
		"oncegate --json":                  "", // it belongs to stats
		"oncegate demo --no":               "--no-open",
		"oncegate --lock-ttl 5s forget --": "--force", // among others
		"oncegate --config set":            "settings.yaml",
		"oncegate --lock-ttl s":            "",
	} {
		command := exec.Command("bash", "-c", `set -u
			source ./oncegate.bash
			COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
			_oncegate
			printf '%s\n' ${COMPREPLY[@]+"${COMPREPLY[@]}"}`, "bash", line)
		command.Dir = folder
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		words := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
		if !slices.Contains(words, want) || (len(words) > 1 && !strings.HasSuffix(line, "--")) {
			t.Errorf("%s: bash offers %q, want %q", line, words, want)
		}
	}
}

func TestTextOfThePageIsNoCommandOfRoff(t *testing.T) {
	for text, want := range map[string]string{
		".SH of no use": `\&.SH of no use`,
		"'quoted' text": `\&'quoted' text`,
		`a\b-c`:         `a\eb\-c`,
	} {
		if got := roff(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
