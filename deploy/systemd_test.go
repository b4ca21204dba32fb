package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/config"
)

// unit returns the path of a copy of the unit, in which the program is the built one.
func unit(t *testing.T) (path, text string) {
	t.Helper()
	source, err := os.ReadFile("systemd/oncegate.service")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "oncegate.service")
	copied := strings.ReplaceAll(string(source), "/usr/bin/oncegate", program)
	if err := os.WriteFile(path, []byte(copied), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, string(source)
}

func TestSystemdTakesTheUnit(t *testing.T) {
	path, _ := unit(t)
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	if err != nil || strings.Contains(string(out), "oncegate.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestTheUnitIsHardened(t *testing.T) {
	path, _ := unit(t)
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", path).CombinedOutput()
	exposure := regexp.MustCompile(`Overall exposure level for oncegate.service: ([0-9.]+)`).FindSubmatch(out)
	if err != nil || exposure == nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	if level, err := strconv.ParseFloat(string(exposure[1]), 64); err != nil || level >= 2 {
		t.Errorf("the exposure is %s (%v):\n%s", exposure[1], err, out)
	}
}

// TestTheUnitWaitsForADrain: systemd kills a process that has not ended within TimeoutStopSec.
func TestTheUnitWaitsForADrain(t *testing.T) {
	_, text := unit(t)
	found := regexp.MustCompile(`(?m)^TimeoutStopSec=(\w+)$`).FindStringSubmatch(text)
	if found == nil {
		t.Fatal("the unit lacks TimeoutStopSec")
	}
	timeout, err := time.ParseDuration(found[1])
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	if needs := 30*time.Second + c.HTTP.ShutdownTimeout + 4*c.Redis.Timeout; timeout < needs {
		t.Errorf("TimeoutStopSec is %v, but a drain may take %v with a DRAIN_DELAY of 30s", timeout, needs)
	}
}

// TestTheSettingsOfThePackageAreValid as they are, and with the lines that are commented out.
func TestTheSettingsOfThePackageAreValid(t *testing.T) {
	text, err := os.ReadFile("systemd/oncegate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for _, secret := range []string{"redis-url", "api-keys"} {
		if err := os.WriteFile(filepath.Join(folder, secret), []byte("redis://127.0.0.1:6379"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := regexp.MustCompile(`(?m)^# (\w+:|  \w+:)`).ReplaceAllString(string(text), "$1")
	all = strings.Replace(all, "redis_url: redis://127.0.0.1:6379/0\n", "", 1)
	all = strings.ReplaceAll(all, "/etc/oncegate", folder)
	for name, settings := range map[string]string{"as it is": string(text), "all of it": all} {
		file := filepath.Join(folder, "oncegate.yaml")
		if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, "check", file).CombinedOutput()
		if err != nil {
			t.Errorf("%s: oncegate check: %v\n%s\n%s", name, err, out, settings)
		}
		if name == "all of it" && !strings.Contains(string(out), "https://backend.example/bookings/{key}") {
			t.Errorf("the commented lines were not read:\n%s", out)
		}
	}
}
