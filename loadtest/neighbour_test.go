package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/loadtest/stage"
)

func TestANoisyNeighbourIsNotFelt(t *testing.T) {
	t.Parallel()
	printed, err := played(t, t.TempDir(), "noisy-neighbour", "--rate", "20", "--duration", "4s")
	// Whether the noise is felt also depends on the machine, which runs other tests: verdict/noise_test.go tests the
	// judgement.
	felt := strings.Count(printed, "\nVIOLATED  p99 ")
	if (err != nil) != (felt > 0) || strings.Count(printed, "\nheld ")+felt != 8 {
		t.Fatalf("%v\n%s", err, printed)
	}
	for _, want := range []string{"held      tenants     80 + 400 requests", "noisy sent 400: ", " 503"} {
		if !strings.Contains(printed, want) {
			t.Errorf("there is no %q:\n%s", want, printed)
		}
	}
}

func TestATenantIsLoadedWithItsKey(t *testing.T) {
	t.Parallel()
	neighbours, err := stage.OpenNeighbours()
	if err != nil {
		t.Fatal(err)
	}
	defer neighbours.Close()
	s, err := stage.Open(t.Context(), neighbours)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	load := func(scenario string, args ...string) (printed string, err error) {
		t.Helper()
		args = append(args, on(s, s.Targets("")...)...)
		return played(t, t.TempDir(), append([]string{scenario, "--rate", "100", "--duration", "500ms"}, args...)...)
	}
	if printed, err := load("retries", "--tenant", stage.Quiet, "--key", stage.QuietKey); err != nil ||
		strings.Count(printed, "\nheld ") != 5 {
		t.Errorf("%v\n%s", err, printed)
	}
	if printed, err := load("storm", "--tenant", stage.Quiet, "--key", stage.NoisyKey); err == nil ||
		!strings.Contains(printed, "401:50") {
		t.Errorf("with another's key: %v\n%s", err, printed)
	}
	if _, err := played(t, t.TempDir(), "storm", "--tenant", stage.Quiet); err == nil || errors.Is(err, errViolated) ||
		!strings.Contains(err.Error(), "it needs --target") {
		t.Errorf("without a target: %v", err)
	}
	if _, err := load("noisy-neighbour"); err == nil || !strings.Contains(err.Error(), "replicas of its own") {
		t.Errorf("a noisy neighbour at targets: %v", err)
	}
}
