package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// sources are the sources of settings that the command line does not name: the environment, and then a file.
type sources struct {
	getenv func(string) string
	file   *file // nil before the first setting is looked up, and if there is no file
	looked bool
	taken  []string // names of the settings whose values came from the file
}

// Validate is part of kong.Resolver.
func (*sources) Validate(*kong.Application) error { return nil }

// Resolve returns the value of a flag in the environment or the file, or nil.
func (s *sources) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	name, ok := variable(flag)
	if !ok {
		return nil, nil // not a setting
	}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	switch {
	case isSecret(flag) && s.getenv(name+fileSuffix) != "":
		return secretFromFile(name, s.getenv)
	case s.getenv(name) != "":
		return s.getenv(name), nil
	case s.file == nil:
		return nil, nil
	}
	e, err := s.file.gateway.valueOf(flag)
	if e == nil || err != nil {
		return nil, err
	}
	s.taken = append(s.taken, e.name)
	return e.text(flag), nil
}

// open reads the file that the command line or the environment names.
func (s *sources) open(ctx *kong.Context) (err error) {
	if s.looked {
		return nil
	}
	s.looked = true
	path := s.path(ctx)
	if path == "" {
		return nil
	}
	known, err := vocabularyOf(ctx.Model.Flags)
	if err != nil {
		return err
	}
	if s.file, err = readFile(path, known); err != nil {
		return badValue(err.Error()) // kong would put a flag's name before it
	}
	return nil
}

func (s *sources) path(ctx *kong.Context) string {
	for _, p := range ctx.Path {
		if p.Positional != nil && ctx.Selected() != nil && ctx.Selected().Name == "check" {
			return ctx.Value(p).String()
		}
	}
	for _, flag := range ctx.Model.Flags {
		if given, _ := ctx.FlagValue(flag).(string); flag.Name == theFile && given != "" {
			return given
		}
	}
	return s.getenv(upperSnake(theFile))
}

// theFile is the one setting that cannot be in a file.
const theFile = "config"

func vocabularyOf(flags []*kong.Flag) (v vocabulary, err error) {
	v = vocabulary{map[string]bool{}, map[string]bool{}}
	for _, flag := range flags {
		if _, ok := variable(flag); ok && !flag.Hidden && flag.Name != theFile {
			learn(v.gateway, flag)
		}
	}
	tenants, err := new(tenantLine).flags()
	for _, flag := range tenants {
		learn(v.tenant, flag)
	}
	return v, err
}

// learn adds a setting's name in a file and, for a secret, the name that gives the path of the secret's own file.
func learn(known map[string]bool, flag *kong.Flag) {
	name := inFile(flag)
	known[name] = !isSecret(flag) && !strings.Contains(name, "url")
	if isSecret(flag) {
		known[name+inFileSuffix] = true
	}
}

// inFile returns a setting's name in a file.
func inFile(flag *kong.Flag) string { return strings.ReplaceAll(flag.Name, "-", "_") }

// inFileSuffix, added to a secret's name, gives the name for the path of the file that holds the secret.
const inFileSuffix = "_file"

// valueOf returns the entry for a flag, or nil. If a secret is in a file of its own, that file is read.
func (s *section) valueOf(flag *kong.Flag) (*entry, error) {
	name := inFile(flag)
	e := s.find(name)
	if !isSecret(flag) {
		return e, nil
	}
	elsewhere := s.find(name + inFileSuffix)
	switch {
	case elsewhere == nil:
		return e, nil
	case e != nil:
		return nil, badValue(fmt.Sprintf("%s and %s are both given: keep one", upperSnake(e.name),
			upperSnake(elsewhere.name)))
	}
	path := elsewhere.text(flag)
	secret, err := readSecret(path)
	if err != nil {
		return nil, badValue(fmt.Sprintf("%s is %q: must be a file with a secret (%v)", upperSnake(elsewhere.name), path,
			err))
	}
	return &entry{name: elsewhere.name, values: []string{secret}, at: elsewhere.at}, nil
}

// text returns an entry's value as a flag takes it. The items of a secret may contain commas.
func (e *entry) text(flag *kong.Flag) string {
	if isSecret(flag) {
		return strings.Join(e.values, "\n")
	}
	return strings.Join(e.values, ",")
}

// namedSetting matches a setting's name in a sentence.
var namedSetting = regexp.MustCompile(`[A-Z][A-Z0-9_]+`)

// locate adds to an error where in the file the settings are that it names.
func (s *sources) locate(err error) error {
	if s.file == nil {
		return err
	}
	return s.file.place(&s.file.gateway, s.taken, err)
}

// place puts a place in front of each sentence: that of the first setting in it that the section has and that is among
// the names. Other problems of a tenant get the place of the tenant.
func (f *file) place(s *section, names []string, err error) error {
	of := ""
	if s.name != "" {
		of = "tenant " + s.name + ": "
	}
	var all problems
	for sentence := range strings.SplitSeq(err.Error(), "\n") {
		at := s.at
		for _, named := range namedSetting.FindAllString(sentence, -1) {
			name := strings.ToLower(named)
			if e := cmp.Or(s.find(name), s.find(name+inFileSuffix)); e != nil && slices.Contains(names, e.name) {
				at = e.at
				break
			}
		}
		if at == nil {
			all = append(all, errors.New(sentence))
		} else {
			all = append(all, f.problem(at, "%s%s", of, sentence))
		}
	}
	return errors.Join(all...)
}
