package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestTheWorkflowsRunTargetsOfMake that exist.
func TestTheWorkflowsRunTargetsOfMake(t *testing.T) {
	files, err := filepath.Glob("../.github/workflows/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("the workflows are %q, %v", files, err)
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	matrix := regexp.MustCompile(`target: \[(.*)\]`)
	called := regexp.MustCompile(`\bmake ([a-z-]+)`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(text, new(map[string]any)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		var targets []string
		for _, found := range matrix.FindAllSubmatch(text, -1) {
			targets = append(targets, strings.Split(string(found[1]), ", ")...)
		}
		for _, found := range called.FindAllSubmatch(text, -1) {
			targets = append(targets, string(found[1]))
		}
		if len(targets) == 0 {
			t.Errorf("%s runs no target", file)
		}
		for _, target := range targets {
			if !strings.Contains(string(makefile), "\n"+target+": ##") {
				t.Errorf("%s runs make %s, which is no target", file, target)
			}
		}
	}
}
