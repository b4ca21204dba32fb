package faults_test

import (
	"encoding/base64"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shortRun is how long faults are injected in ./test.sh, in two worlds at once. FAULTS=6m30s (make faults) is how long
// they are injected in all worlds together.
const shortRun = 10 * time.Second

// budget returns for how long all runs together may inject faults. long says that FAULTS asked for it.
func budget(t *testing.T) (all time.Duration, long bool) {
	text := os.Getenv("FAULTS")
	if text == "" {
		return shortRun, false
	}
	all, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("FAULTS: %v", err)
	}
	return all, true
}

// seed returns FAULTS_SEED, or a random seed.
func seed(t *testing.T) uint64 {
	text := os.Getenv("FAULTS_SEED")
	if text == "" {
		return rand.Uint64() >> 32
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("FAULTS_SEED: %v", err)
	}
	return n
}

// keyFile returns the path of a file of keys for results.
func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	secret := func(letter string) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
	}
	if err := os.WriteFile(path, []byte("one "+secret("1")+"\ndigest "+secret("d")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNothingIsLostAndNothingHappensTwice breaks everything that can break, in one world after the other.
func TestNothingIsLostAndNothingHappensTwice(t *testing.T) {
	all, long := budget(t)
	worlds := []struct {
		name   string
		share  int // percent of the time
		store  func(t *testing.T) store
		sealed bool // results are sealed in Redis
		strict bool // all replicas stay alive, and nothing is excused
	}{
		{"Redis keeps its data", 20, func(t *testing.T) store { return startAlone(t, true) }, false, false},
		{"Redis forgets", 20, func(t *testing.T) store { return startAlone(t, false) }, true, false},
		{"Sentinel", 15, func(t *testing.T) store { return startWatched(t) }, false, false},
		{"Cluster", 15, func(t *testing.T) store { return startCluster(t) }, true, false},
		{"Sentinel, all replicas live", 15, func(t *testing.T) store { return startWatched(t) }, false, true},
		{"Cluster, all replicas live", 15, func(t *testing.T) store { return startCluster(t) }, true, true},
	}
	crowd, flags := 48, []string(nil)
	if !long {
		t.Parallel() // to the mutants
		worlds = worlds[:2]
		worlds[0].share, worlds[1].share = 100, 100
		crowd, flags = 16, []string{"-race"}
	}
	program := build(t, nil, flags...)
	for _, world := range worlds {
		t.Run(world.name, func(t *testing.T) {
			if !long {
				t.Parallel()
			}
			number, s := seed(t), world.store(t)
			faults, calm, env := s.faults(), settle, []string(nil)
			if world.strict {
				faults, calm, env = allLive(faults), defaultSettle, defaults
			}
			strikes := schedule(number, all*time.Duration(world.share)/100, calm, faults)
			t.Logf("FAULTS_SEED=%d FAULTS=%v plays this again:", number, all)
			for _, strike := range strikes {
				t.Log(strike)
			}
			if world.sealed {
				env = append(slices.Clone(env), "RESULT_KEY_FILE="+keyFile(t))
			}
			w := open(t, program, s, env...)
			w.strict = world.strict
			w.expectNone(w.run(number, strikes, crowd, usual, time.Minute))
		})
	}
}
