package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// mutant is one fault, and the tests that must fail with it.
type mutant struct {
	where   string // the list, and the line in it
	rule    string // the rule that it breaks, as a sentence
	file    string // path from the root of the tree
	text    string // occurs exactly once in the file
	becomes string // replaces text
	tests   []test
}

// test is a test function of a package, or a fuzz target, whose seeds are run. The names of subtests follow behind
// slashes.
type test struct{ dir, name string }

func (m mutant) String() string { return m.where + ": " + m.rule }

//go:embed *.txt
var lists embed.FS

// readLists returns the mutants of all lists in order.
func readLists() (all []mutant, err error) {
	names, err := fs.Glob(lists, "*.txt")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := lists.ReadFile(name)
		if err != nil {
			return nil, err
		}
		mutants, err := parseList(name, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, mutants...)
	}
	return all, nil
}

// The kinds of lines in a block, in their order. Every kind but file may have several lines.
const (
	blank = iota
	rule
	file
	text
	becomes
	tests
)

// parseList reads a list. A blank line ends a block, and each block is one mutant:
//
//	# the rule that it breaks, as a sentence
//	file internal/link/group.go
//	- text that the file has exactly once
//	+ what takes its place; without such a line nothing does
//	test internal/link TestOne TestAnother/with_a_subtest
//
// A block with # lines only is a heading. The text of a line follows its sign and one space, unchanged; several lines
// are joined by line feeds.
func parseList(name, list string) (mutants []mutant, err error) {
	var b block
	for i, line := range strings.Split(list, "\n") {
		kind, value := kindOf(line)
		if kind == blank {
			if mutants, err = b.end(mutants); err != nil {
				return nil, err
			}
			b = block{}
			continue
		}
		if b.last == blank {
			b.where = fmt.Sprintf("%s:%d", strings.TrimSuffix(name, ".txt"), i+1)
		}
		if err := b.add(kind, value); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: %q", name, i+1, err, line)
		}
	}
	return b.end(mutants)
}

func kindOf(line string) (kind int, value string) {
	if line == "" {
		return blank, ""
	}
	for kind, sign := range map[int]string{rule: "# ", file: "file ", text: "- ", becomes: "+ ", tests: "test "} {
		if value, ok := strings.CutPrefix(line, sign); ok {
			return kind, value
		}
	}
	return -1, ""
}

// block is a block that is being read.
type block struct {
	mutant
	last          int // kind of the previous line
	texts, become []string
}

func (b *block) add(kind int, value string) error {
	switch {
	case kind < 0:
		return errors.New("a line begins with #, file, -, + or test, and a space")
	case kind < b.last, kind > b.last+1 && !(kind == tests && b.last == text), kind == file && b.last == file:
		return errors.New("a block has # lines, one file line, - lines, maybe + lines, and test lines, in this order")
	}
	b.last = kind
	switch kind {
	case rule:
		b.rule = strings.TrimPrefix(b.rule+" "+value, " ")
	case file:
		if b.file = value; value != path.Clean(value) || path.IsAbs(value) || strings.HasPrefix(value, "..") {
			return errors.New("a file is named from the root of the tree")
		}
	case text:
		b.texts = append(b.texts, value)
	case becomes:
		b.become = append(b.become, value)
	case tests:
		words := strings.Fields(value)
		if len(words) < 2 {
			return errors.New("a test line has a package's folder and the names of tests")
		}
		for _, name := range words[1:] {
			if !strings.HasPrefix(name, "Test") && !strings.HasPrefix(name, "Fuzz") {
				return fmt.Errorf("%s is no test", name)
			}
			b.tests = append(b.tests, test{path.Clean(words[0]), name})
		}
	}
	return nil
}

// end adds the block to the mutants, unless it is a heading.
func (b *block) end(mutants []mutant) ([]mutant, error) {
	if b.last == blank || b.last == rule { // a heading
		return mutants, nil
	}
	if b.last != tests {
		return nil, fmt.Errorf("%s: the block has no test line", b.where)
	}
	b.text, b.becomes = strings.Join(b.texts, "\n"), strings.Join(b.become, "\n")
	if b.text == b.becomes {
		return nil, fmt.Errorf("%s: the mutant changes nothing", b.where)
	}
	return append(mutants, b.mutant), nil
}

// apply returns the content of a file with the fault in it.
func (m *mutant) apply(content string) (string, error) {
	if n := strings.Count(content, m.text); n != 1 {
		return "", fmt.Errorf("its text occurs %d times in %s, and must occur once", n, m.file)
	}
	return strings.Replace(content, m.text, m.becomes, 1), nil
}
