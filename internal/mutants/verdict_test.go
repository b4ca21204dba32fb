package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// module is a small program with tests of every kind.
var module = map[string]string{
	"go.mod": "module small\n\ngo 1.26\n",
	"double/double.go": `// Package double doubles.
package double

// Of doubles.
func Of(n int) int { return n + n }
`,
	"double/double_test.go": `package double

import "testing"

func TestOf(t *testing.T) {
	t.Run("two", func(t *testing.T) {
		if Of(2) != 4 {
			t.Error("it is not 4")
		}
	})
	t.Run("three", func(t *testing.T) {
		if Of(3) != 6 {
			t.Error("it is not 6")
		}
	})
}

func TestNothing(*testing.T) {}

func TestSkipped(t *testing.T) { t.Skip("not here") }

func TestRed(t *testing.T) { t.Error("always") }
`,
}

func TestEachMutantGetsItsVerdictAndIsTakenBack(t *testing.T) {
	one, two := small(t), small(t)
	of := func(rule, text, becomes string, names ...string) mutant {
		m := mutant{where: "small:1", rule: rule, file: "double/double.go", text: text, becomes: becomes}
		for _, name := range names {
			m.tests = append(m.tests, test{"double", name})
		}
		return m
	}
	var out bytes.Buffer
	err := judgeAll(t.Context(), []*bench{one, two}, []mutant{
		of("killed", "n + n", "n * n", "TestOf/three"),
		of("survives one of its tests", "n + n", "n * n", "TestOf/three", "TestOf/two"),
		of("survives", "n + n", "n", "TestNothing"),
		of("is gone", "n - n", "n", "TestOf"),
		of("is there twice", "n", "m", "TestOf"),
		of("is no Go", "n + n", "n +", "TestOf"),
		of("has no such test", "n + n", "n", "TestOther"),
		of("has no such subtest", "n + n", "n", "TestOf/four"),
		of("has a test that is skipped", "n + n", "n", "TestSkipped"),
		of("has a test that is always red", "n + n", "n", "TestRed"),
	}, &out, time.Now())
	if err == nil || err.Error() != "2 survived, 2 do not apply, 1 do not build, 4 have tests that say nothing" {
		t.Errorf("error %v", err)
	}
	for _, line := range []string{
		"small:1: killed\n\tkilled by TestOf/three, in ",
		"survives one of its tests\n\tSURVIVED TestOf/two in double is green, in ",
		"survives\n\tSURVIVED TestNothing in double is green, in ",
		"is gone\n\tDOES NOT APPLY: its text occurs 0 times in double/double.go, and must occur once",
		"is there twice\n\tDOES NOT APPLY: its text occurs ",
		"is no Go\n\tDOES NOT BUILD: ",
		"has no such test\n\tITS TEST SAYS NOTHING: double has no test TestOther, or it did not run",
		"has no such subtest\n\tITS TEST SAYS NOTHING: double has no test TestOf/four, or it did not run",
		"has a test that is skipped\n\tITS TEST SAYS NOTHING: TestSkipped was skipped",
		"has a test that is always red\n\tITS TEST SAYS NOTHING: TestRed is red without the mutant too",
		"1 of 10 mutants were killed, in ",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no line %q in\n%s", line, out.String())
		}
	}
	for _, b := range []*bench{one, two} {
		content, err := os.ReadFile(b.path("double/double.go"))
		if err != nil || string(content) != module["double/double.go"] {
			t.Errorf("a mutant was not taken back: %q, error %v", content, err)
		}
	}
}

// small returns a bench with the small module.
func small(t *testing.T) *bench {
	t.Helper()
	b, err := emptyBench()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.remove)
	for name, content := range module {
		if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(b.path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return b
}
