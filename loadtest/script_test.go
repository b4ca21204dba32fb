package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEachScenarioHasAScriptThatTellsItsDefaults(t *testing.T) {
	for _, s := range scenarios {
		text, err := os.ReadFile(s.name + ".sh")
		if err != nil {
			t.Error(err)
			continue
		}
		duration := strings.TrimSuffix(strings.TrimSuffix(s.duration.String(), "0s"), "0m")
		if s.duration.Seconds() < 60 {
			duration = s.duration.String()
		}
		for _, want := range []string{fmt.Sprintf("[--rate %g] [--duration %s]", s.rate, duration), "/run.sh\" " + s.name +
			` "$@"`} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s.sh has no %q", s.name, want)
			}
		}
	}
}

func TestAScriptWorksFromAnyDirectoryAndHandsOnTheExitStatus(t *testing.T) {
	script, err := filepath.Abs("storm.sh")
	if err != nil {
		t.Fatal(err)
	}
	play := func(args ...string) (printed string, status int) {
		command := exec.Command(script, append(args, "--duration", "200ms", "--out", t.TempDir())...)
		command.Dir = t.TempDir()
		out, _ := command.CombinedOutput()
		return string(out), command.ProcessState.ExitCode()
	}
	if printed, status := play("--target", shared.Targets("")[0], "--redis-url", shared.RedisURL()); status != 0 ||
		!strings.Contains(printed, "held      executions  1 for 1") {
		t.Errorf("status %d\n%s", status, printed)
	}
	if printed, status := play("--target", "http://192.0.2.7"); status != 2 {
		t.Errorf("status %d\n%s", status, printed)
	}
	// Half of the deliveries go to an address at which no server listens.
	if printed, status := play("--target", shared.Targets("")[0], "--target", shared.Targets("/elsewhere")[1],
		"--redis-url", shared.RedisURL()); status != 1 {
		t.Errorf("status %d\n%s", status, printed)
	}
}
