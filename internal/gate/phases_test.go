package gate

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// transition is one phase and the next.
type transition struct{ from, to string }

var phaseNames = []string{"claiming", "watching", "settling", "executing", "storing", "landed"}

// TestThePhasesAreThoseOfTheTable compares the table in flight.go's head with the code: every phase that a step can
// return is in the table, and every line of the table has a place in the code.
func TestThePhasesAreThoseOfTheTable(t *testing.T) {
	source, err := os.ReadFile("flight.go")
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[transition]bool)
	for _, line := range regexp.MustCompile(`(?m)^//\t(\w+) +\| (\w+) +\| \S`).FindAllStringSubmatch(string(source), -1) {
		if line[1] != "from" {
			table[transition{line[1], line[2]}] = true
		}
	}
	code := returned(t)
	for tr := range code {
		if !table[tr] {
			t.Errorf("the code goes from %s to %s, which the table does not have", tr.from, tr.to)
		}
	}
	for tr := range table {
		if !code[tr] {
			t.Errorf("the table has %s to %s, which no step returns", tr.from, tr.to)
		}
	}
	if len(table) < 10 {
		t.Errorf("the table has %d lines", len(table))
	}
}

// returned follows the steps of all phases, and the functions that return a phase for them.
func returned(t *testing.T) map[transition]bool {
	t.Helper()
	functions := make(map[string]*ast.FuncDecl)
	for _, name := range sourceFiles(t) {
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && returnsPhase(f) {
				functions[f.Name.Name] = f
			}
		}
	}
	found := make(map[transition]bool)
	for from, step := range map[string]string{
		"claiming": "claim", "watching": "watch", "settling": "settle", "executing": "execute", "storing": "store",
	} {
		for to := range phasesOf(step, functions, make(map[string]bool)) {
			found[transition{from, to}] = true
		}
	}
	return found
}

func sourceFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			names = append(names, e.Name())
		}
	}
	return names
}

func returnsPhase(f *ast.FuncDecl) bool {
	if f.Type.Results == nil || len(f.Type.Results.List) == 0 {
		return false
	}
	result, ok := f.Type.Results.List[0].Type.(*ast.Ident)
	return ok && result.Name == "phase"
}

// phasesOf returns the phases that a function may return, itself or through functions that it calls.
func phasesOf(name string, functions map[string]*ast.FuncDecl, seen map[string]bool) map[string]bool {
	phases := make(map[string]bool)
	if seen[name] || functions[name] == nil {
		return phases
	}
	seen[name] = true
	ast.Inspect(functions[name].Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ReturnStmt:
			if len(n.Results) > 0 {
				if id, ok := n.Results[0].(*ast.Ident); ok && slices.Contains(phaseNames, id.Name) {
					phases[id.Name] = true
				}
			}
		case *ast.CallExpr:
			if selector, ok := n.Fun.(*ast.SelectorExpr); ok {
				maps.Copy(phases, phasesOf(selector.Sel.Name, functions, seen))
			}
		}
		return true
	})
	return phases
}
