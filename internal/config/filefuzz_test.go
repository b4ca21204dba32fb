package config

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// FuzzFile reads arbitrary files: none may end the program, and no error shows a text that may be secret.
func FuzzFile(f *testing.F) {
	for _, text := range []string{
		"lock_ttl: 5s\n", "tenants:\n  a:\n    api_keys: [k]\n    allow: [10.0.0.0/8]\n", "upstream: {url: http://h}\n",
		"a: &a [b]\nc: *a\n", "redis_password: |\n  x\n", "? a\n: b\n", "a: !!binary x\n", "<<: {a: b}\n", "a: 'b''c'\n",
		"\xef\xbb\xbfa: 1\n", "a:\n\tb: 1\n", "tenants: {a: {open: true}, b: [c]}\n", "--- a\n", "%YAML 1.2\n---\na: b\n",
	} {
		f.Add(text)
	}
	parser, err := kong.New(new(CommandLine), append(readers(), kong.Vars{"version": ""})...)
	if err != nil {
		f.Fatal(err)
	}
	known, err := vocabularyOf(parser.Model.Flags)
	if err != nil {
		f.Fatal(err)
	}
	c := Default()
	f.Fuzz(func(t *testing.T, text string) {
		if bounded([]byte(text)) != nil {
			return
		}
		read, err := parseFile("FILE", []byte(text), known)
		if err == nil {
			_, err = read.tenantsUnder(&c)
		}
		if err != nil && (!utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x00\x1b")) {
			t.Errorf("an error is no plain text: %q", err)
		}
	})
}
