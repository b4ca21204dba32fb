// Package docs_test holds the pages of this folder, README.md and CONTRIBUTING.md against the tree.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMain lets the paths of all tests begin at the root.
func TestMain(m *testing.M) {
	if err := os.Chdir(".."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestThePagesNameTestsThatExist: a page names the test of each rule, and must not name one that is gone.
func TestThePagesNameTestsThatExist(t *testing.T) {
	exists := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	for _, text := range files(t, "_test.go") {
		for _, name := range declared.FindAllStringSubmatch(text, -1) {
			exists[name[1]] = true
		}
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	for path, text := range files(t, ".md") {
		for _, name := range named.FindAllString(text, -1) {
			if !exists[name] {
				t.Errorf("%s names %s, and there is no such test", path, name)
			}
		}
	}
}

// TestThePagesNameFilesThatExist is about the tree's own paths, such as internal/gate/flight.go, and about source files
// that are named without their folder.
func TestThePagesNameFilesThatExist(t *testing.T) {
	sources := make(map[string]bool)
	for path := range files(t, ".go") {
		sources[filepath.Base(path)] = true
	}
	named := regexp.MustCompile("`((?:handler|internal|scripts|examples|loadtest|deploy|bench|docs)/[\\w./-]+|\\w+\\.go)`")
	for path, text := range files(t, ".md") {
		if path == filepath.Join("docs", "CHANGELOG.md") {
			continue // it is about the past
		}
		for _, name := range named.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(name[1]); err != nil && !sources[name[1]] {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

// TestTheMethodsOfContributingExist: its answers name them, such as flight.claim.
func TestTheMethodsOfContributingExist(t *testing.T) {
	exists := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func \(\w+ \*?(\w+)(?:\[\w+\])?\) (\w+)\(`)
	for path, text := range files(t, ".go") {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, method := range declared.FindAllStringSubmatch(text, -1) {
			exists[method[1]+"."+method[2]] = true
		}
	}
	named := regexp.MustCompile("`(\\w+\\.\\w+)`").FindAllStringSubmatch(files(t, ".md")["CONTRIBUTING.md"], -1)
	methods := 0
	for _, name := range named {
		switch {
		case strings.HasSuffix(name[1], ".go"), strings.HasSuffix(name[1], ".sh"):
		case !exists[name[1]]:
			t.Errorf("there is no method %s", name[1])
		default:
			methods++
		}
	}
	if methods < 10 {
		t.Errorf("it names %d methods", methods)
	}
}

// TestLinksBetweenPagesLead: to a file that is there, and to a heading that it has.
func TestLinksBetweenPagesLead(t *testing.T) {
	pages := files(t, ".md")
	link := regexp.MustCompile(`\]\(([^)\s]*)\)`)
	for path, text := range pages {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			file, heading, _ := strings.Cut(found[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", path, err)
			} else if heading != "" && !headings(pages[target])[heading] {
				t.Errorf("%s links to %s, which has no such heading", path, found[1])
			}
		}
	}
}

// TestThePageOfTheLogHasEveryEvent compares the tables of docs/operations.md with the lines that the program logs above
// debug.
func TestThePageOfTheLogHasEveryEvent(t *testing.T) {
	_, section, _ := strings.Cut(files(t, ".md")[filepath.Join("docs", "operations.md")], "\n## What the log says\n")
	var told []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(.+?)` \\| ").FindAllStringSubmatch(section, -1) {
		told = append(told, row[1])
	}
	const text = `"((?:[^"\\]|\\.)*)"`
	logged := regexp.MustCompile(`[lL]og(?:Of\(.*\)|\))?\.(?:Info|Warn|Error)\(\s*` + text +
		`|[lL]og\.Log\(ctx, level,\s*` + text +
		`|LogAttrs\([^"]*` + text)
	ofTests := regexp.MustCompile(`_test\.go$|^(?:bench|loadtest|examples)/|` +
		`^internal/(?:\w+test|faults|mutants|proc|e2e)/`)
	met := make(map[string]bool)
	for path, source := range files(t, ".go") {
		if ofTests.MatchString(path) {
			continue
		}
		for _, found := range logged.FindAllStringSubmatch(source, -1) {
			message := found[1] + found[2] + found[3]
			known := false
			for _, begins := range told {
				if strings.HasPrefix(message, begins) {
					known, met[begins] = true, true
				}
			}
			if !known {
				t.Errorf("%s logs %q, which docs/operations.md (What the log says) does not have: add a row", path, message)
			}
		}
	}
	for _, begins := range told {
		if !met[begins] {
			t.Errorf("docs/operations.md tells of a message %q, which nothing logs", begins)
		}
	}
	if len(told) < 50 {
		t.Errorf("it tells of %d messages", len(told))
	}
}

// TestTheReadmeIsShort: longer texts belong on a page of docs/.
func TestTheReadmeIsShort(t *testing.T) {
	const most = 180
	if lines := strings.Count(files(t, ".md")["README.md"], "\n"); lines == 0 || lines > most {
		t.Errorf("README.md has %d lines, of %d at most", lines, most)
	}
}

// headings are those of a page, as links name them.
func headings(page string) map[string]bool {
	names := make(map[string]bool)
	dropped := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := dropped.ReplaceAllString(strings.ToLower(heading[1]), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}

// files returns the text of all files of the tree whose names end so, by their paths.
func files(t *testing.T, ending string) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (entry.Name()[0] == '.' || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ending):
			return nil
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}
