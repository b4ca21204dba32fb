package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the tree whose files the lists name.
const root = "../.."

// TestEveryMutantAppliesAndNamesTestsThatExist is the part of the lists' check that ./test.sh runs: a commit that
// changes a line of a mutant, or renames a test, must change the list too.
func TestEveryMutantAppliesAndNamesTestsThatExist(t *testing.T) {
	mutants, err := readLists()
	if err != nil {
		t.Fatal(err)
	}
	if len(mutants) < 60 {
		t.Errorf("the lists have %d mutants", len(mutants))
	}
	functions := make(map[string]map[string]bool)
	for _, m := range mutants {
		content, err := os.ReadFile(filepath.Join(root, m.file))
		if err == nil {
			_, err = m.apply(string(content))
		}
		if err != nil {
			t.Errorf("%s\n\t%v", m, err)
		}
		for _, test := range m.tests {
			if functions[test.dir] == nil {
				functions[test.dir] = testsOf(t, filepath.Join(root, test.dir))
			}
			if name, _, _ := strings.Cut(test.name, "/"); !functions[test.dir][name] {
				t.Errorf("%s\n\t%s has no %s", m, test.dir, name)
			}
		}
	}
}

// testsOf returns the names of the test functions in a folder.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range parsed.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}

func TestAListIsReadAsAPersonWritesIt(t *testing.T) {
	mutants, err := parseList("area.txt", "# a heading\n# of two lines\n\n# One\n# rule.\nfile a/b.go\n- \tif x {\n-  y\n"+
		"+ \tif true {\n+  y\ntest a TestOne TestTwo/with_more\ntest b TestThree\n\n\n"+
		"# Another.\nfile c.go\n- gone\ntest . TestFour")
	if err != nil || len(mutants) != 2 {
		t.Fatalf("%d mutants, error %v", len(mutants), err)
	}
	one, another := mutants[0], mutants[1]
	if one.String() != "area:4: One rule." || one.file != "a/b.go" ||
		one.text != "\tif x {\n y" || one.becomes != "\tif true {\n y" ||
		len(one.tests) != 3 || one.tests[1] != (test{"a", "TestTwo/with_more"}) || one.tests[2] != (test{"b", "TestThree"}) {
		t.Errorf("%+v", one)
	}
	if another.text != "gone" || another.becomes != "" || another.tests[0] != (test{".", "TestFour"}) {
		t.Errorf("%+v", another)
	}
}

func TestAListThatCannotBeReadNamesTheLine(t *testing.T) {
	for list, where := range map[string]string{
		"rule\n":                                "area.txt:1",
		"# r\nfile a\n+ x\ntest a TestX\n":      "area.txt:3",
		"# r\n- x\ntest a TestX\n":              "area.txt:2",
		"file a\n- x\ntest a TestX\n":           "area.txt:1",
		"# r\nfile a\nfile b\n":                 "area.txt:3",
		"# r\nfile a\n- x\n+ y\n- z\n":          "area.txt:5",
		"# r\nfile ../a\n- x\n":                 "area.txt:2",
		"# r\nfile a\n- x\ntest a\n":            "area.txt:4",
		"# r\nfile a\n- x\ntest a NoTest\n":     "area.txt:4",
		"# r\nfile a\n-x\n":                     "area.txt:3",
		"# r\nfile a\n- x\n+ y\n\n":             "area:1",
		"# r\nfile a\n- x\n+ x\ntest a TestX\n": "area:1",
	} {
		if _, err := parseList("area.txt", list); err == nil || !strings.HasPrefix(err.Error(), where+":") {
			t.Errorf("%q: error %v, want one of %s", list, err, where)
		}
	}
}
