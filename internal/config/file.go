package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a configuration file. YAML's parser takes time that grows with the square of the depth.
const (
	maxFileBytes = 1 << 20
	maxFileDepth = 32
)

// file is a configuration file (CONFIG): the settings of the gateway, and those of each tenant.
type file struct {
	path    string
	lines   []string
	gateway section
	tenants []section
	known   vocabulary
}

// vocabulary has the names of all settings, as they are in a file. The value says whether the setting may be shown: it
// may not if it is a secret, or contains one.
type vocabulary struct{ gateway, tenant map[string]bool }

func (v vocabulary) shows(name string) bool { return v.gateway[name] || v.tenant[name] }

// section is a mapping of settings.
type section struct {
	name    string // the tenant's; "" for the gateway's own
	at      *token.Token
	entries []entry
}

// entry is one setting in the file, under its flag's name with underscores (upstream_url).
type entry struct {
	name   string
	values []string // one value, or the items of a list
	list   bool
	at     *token.Token
}

// find returns the entry of a name, or nil.
func (s *section) find(name string) *entry {
	for i := range s.entries {
		if s.entries[i].name == name {
			return &s.entries[i]
		}
	}
	return nil
}

// names returns the names of its entries.
func (s *section) names() (names []string) {
	for _, e := range s.entries {
		names = append(names, e.name)
	}
	return names
}

// readFile reads a configuration file. An error names the line and shows it, unless the line may contain a secret.
func readFile(path string, known vocabulary) (*file, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("CONFIG is %q: must be a file of settings in YAML (%w)", path, err)
	}
	return parseFile(path, text, known)
}

func parseFile(path string, text []byte, known vocabulary) (*file, error) {
	f := &file{path: path, lines: strings.Split(string(text), "\n"), known: known}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		if bad, ok := errors.AsType[yaml.Error](err); ok {
			return nil, f.problem(bad.GetToken(), "%s", bad.GetMessage())
		}
		return nil, fmt.Errorf("%s: no YAML", path)
	}
	if len(tree.Docs) > 1 {
		return nil, fmt.Errorf("%s: several documents (---): must be one", path)
	}
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return f, nil // only comments
	}
	return f, f.read(tree.Docs[0].Body)
}

func readBounded(path string) ([]byte, error) {
	opened, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	text, err := io.ReadAll(io.LimitReader(opened, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	return text, bounded(text)
}

// bounded refuses a text that the parser must not get.
func bounded(text []byte) error {
	if len(text) > maxFileBytes {
		return fmt.Errorf("larger than %v", Bytes(maxFileBytes))
	}
	if !utf8.Valid(text) {
		return errors.New("not UTF-8")
	}
	depth := 0
	for _, c := range text {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		if depth > maxFileDepth {
			return fmt.Errorf("more than %d brackets in each other", maxFileDepth)
		}
	}
	return nil
}

// read takes the file apart. It goes on after a problem, so that all problems are reported at once.
func (f *file) read(body ast.Node) error {
	var all problems
	members, err := f.members(body)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.name != "tenants" {
			all = append(all, f.take(&f.gateway, "", m)...)
			continue
		}
		tenants, err := f.members(m.value)
		if err != nil {
			all = append(all, err)
		}
		for _, t := range tenants {
			section := section{name: t.name, at: t.at}
			settings, err := f.members(t.value)
			if err != nil {
				all = append(all, err)
			}
			for _, s := range settings {
				all = append(all, f.take(&section, "", s)...)
			}
			f.tenants = append(f.tenants, section)
		}
		if len(tenants) == 0 && err == nil {
			all = append(all, f.problem(m.at, "tenants has none: must name at least one"))
		}
	}
	return errors.Join(all...)
}

// member is one name and value of a mapping.
type member struct {
	name  string
	at    *token.Token
	value ast.Node
}

func (f *file) members(node ast.Node) (all []member, err error) {
	var values []*ast.MappingValueNode
	switch node := node.(type) {
	case *ast.MappingNode:
		values = node.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{node}
	default:
		return nil, f.problem(node.GetToken(), "must be settings, one \"name: value\" a line")
	}
	for _, v := range values {
		name, ok := v.Key.(*ast.StringNode)
		if !ok {
			return nil, f.problem(v.Key.GetToken(), "must be a name, as plain text")
		}
		all = append(all, member{name.Value, name.GetToken(), v.Value})
	}
	return all, nil
}

// blocks are the names under which settings may be grouped: upstream: {url: …} is upstream_url.
var blocks = []string{"upstream", "signature"}

// take adds a setting to a section.
func (f *file) take(s *section, block string, m member) (p problems) {
	if block == "" && slices.Contains(blocks, m.name) {
		inner, err := f.members(m.value)
		if err != nil {
			return problems{err}
		}
		for _, i := range inner {
			p = append(p, f.take(s, m.name+"_", i)...)
		}
		return p
	}
	e := entry{name: block + m.name, at: m.at}
	if problem := f.unknown(s, e.name); problem != "" {
		return problems{f.problem(m.at, "%s", problem)}
	}
	if s.find(e.name) != nil {
		return problems{f.problem(m.at, "%s is given twice", e.name)}
	}
	nodes := []ast.Node{m.value}
	if list, ok := m.value.(*ast.SequenceNode); ok {
		nodes, e.list = list.Values, true
	}
	for _, node := range nodes {
		text, ok := scalar(node)
		if !ok {
			return problems{f.problem(m.at, "%s must be plain text or a list of it, without anchors and tags", e.name)}
		}
		e.values = append(e.values, text)
	}
	s.entries = append(s.entries, e)
	return nil
}

// scalar returns a value as it was written.
func scalar(node ast.Node) (text string, ok bool) {
	switch node := node.(type) {
	case *ast.StringNode:
		return node.Value, true
	case *ast.LiteralNode:
		return node.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return node.GetToken().Value, true
	}
	return "", false
}

// unknown says why a name is not a setting of the section.
func (f *file) unknown(s *section, name string) (problem string) {
	ours, others := f.known.gateway, f.known.tenant
	if s.at != nil {
		ours, others = others, ours
	}
	_, known := ours[name]
	_, elsewhere := others[name]
	switch {
	case known:
		return ""
	case elsewhere && s.at != nil:
		return fmt.Sprintf("%s is a setting of the whole gateway: a tenant can't have its own", name)
	case elsewhere:
		return fmt.Sprintf("%s is a tenant's own: it belongs below tenants and the tenant's name", name)
	}
	var names []string
	for name := range ours {
		names = append(names, strings.ToUpper(name))
	}
	slices.Sort(names)
	if meant, ok := nearest(upperSnake(name), names); ok {
		return fmt.Sprintf("%s is no setting: did you mean %s?", name, strings.ToLower(meant))
	}
	return name + " is no setting"
}

// names returns the path of the file itself and those of the files with its secrets.
func (f *file) names() []string {
	all := []string{f.path}
	for _, s := range append([]section{f.gateway}, f.tenants...) {
		for _, e := range s.entries {
			if strings.HasSuffix(e.name, inFileSuffix) {
				all = append(all, e.values...)
			}
		}
	}
	return all
}

// problem returns an error with its place in the file, and the line there.
func (f *file) problem(at *token.Token, format string, args ...any) error {
	said := cut(strings.Map(printable, fmt.Sprintf(format, args...)), longestSaid)
	if at == nil || at.Position == nil || at.Position.Line < 1 || at.Position.Line > len(f.lines) {
		return fmt.Errorf("%s: %s", f.path, said)
	}
	line, column := at.Position.Line, at.Position.Column
	shown := f.shown(line)
	mark := strings.Repeat(" ", min(max(column-1, 0), len(shown))) + "^"
	return fmt.Errorf("%s:%d:%d: %s\n%6d | %s\n       | %s", f.path, line, column, said, line, shown, mark)
}

// How much of a line an error shows, and how much the error says of it, in bytes.
const (
	longestShown = 120
	longestSaid  = 1000
)

// shown returns a line of the file for an error. The value after a name is hidden unless the name is a setting's
// without a secret: a misspelt name may hold one.
func (f *file) shown(number int) string {
	line := strings.TrimRight(f.lines[number-1], "\r")
	before, value, found := strings.Cut(line, ":")
	name := strings.TrimSpace(before)
	inBlock := func(block string) bool { return f.known.shows(block + "_" + name) }
	open := f.known.shows(name) || slices.ContainsFunc(blocks, inBlock)
	switch {
	case !found && name != "":
		line = line[:len(line)-len(strings.TrimLeft(line, " \t"))] + hidden
	case strings.TrimSpace(value) != "" && (!open || strings.Contains(value, ":")):
		line = before + ": " + hidden
	}
	return cut(strings.Map(printable, line), longestShown)
}

func cut(text string, most int) string {
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// printable replaces characters that a terminal would take for commands, or that would shift columns.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r == utf8.RuneError {
		return ' '
	}
	return r
}
