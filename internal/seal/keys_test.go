package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oncegate/oncegate/internal/seal"
)

func TestAFileMayHaveCommentsAndBlankLines(t *testing.T) {
	text := "\n# the first one seals\r\n  2026-11  " + secretOf("2") + "  \r\n\n2026-10\t" + secretOf("1") +
		"\r\n# for ever\n  digest " + secretOf("d")
	k, err := seal.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if sealed := k.Seal(place, done); sealed.KeyID != "2026-11" {
		t.Errorf("sealed under %s", sealed.KeyID)
	}
	expectOpens(t, k, place, keysOf(t, "2026-10 "+secretOf("1")).Seal(place, done), done)
}

func TestErrorsOfAFileNameTheLineAndShowNothingOfIt(t *testing.T) {
	one, digest := "one "+secretOf("1")+"\n", "digest "+secretOf("d")+"\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":              {"", "it has no key"},
		"comments alone":     {"# one\n", "it has no key"},
		"no key":             {digest, "it has no key"},
		"no digest":          {one, "it has no digest secret"},
		"a secret alone":     {one + secretOf("s") + "\n", "line 2: want"},
		"three words":        {one + "# \ntwo " + secretOf("s") + " first\n", "line 3: want"},
		"an id with a space": {"o,ne " + secretOf("s") + "\n", "line 1: a key's id has"},
		"a long id":          {strings.Repeat("x", 33) + " " + secretOf("s") + "\n", "line 1: a key's id has"},
		"no base64":          {one + "two sssssssssssssssssssss!\n", "line 2: the secret is not the base64 of 32 bytes"},
		"31 bytes":           {one + "two c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3NzAA==\n", "line 2: the secret is not"},
		"a short digest":     {one + "digest c3Nzcw==\n", "line 2: the secret is not"},
		"the id twice":       {one + "one " + secretOf("s") + "\n" + digest, "line 2: its name or secret stands in line 1"},
		"the secret twice":   {one + digest + "two " + secretOf("1") + "\n", "line 3: its name or secret stands in line 1"},
		"two digests": {one + digest + "digest " + secretOf("s") + "\n",
			"line 3: its name or secret stands in line 2"},
		"the digest's key": {one + "digest " + secretOf("1") + "\n", "line 2: its name or secret stands in line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := seal.Parse(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			for word := range strings.FieldsSeq(c.text) {
				if len(word) > 7 && strings.Contains(err.Error(), word) {
					t.Errorf("the error shows %q: %v", word, err)
				}
			}
		})
	}
}

func TestAKeyFileIsARegularFileOfBoundedSize(t *testing.T) {
	dir, good := t.TempDir(), "one "+secretOf("1")+"\ndigest "+secretOf("d")+"\n"
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want, logs string }{
		"for its owner":       {write("good", good, 0o600), "", ""},
		"for its group":       {write("group", good, 0o640), "", ""},
		"for everybody":       {write("public", good, 0o644), "", "every user of this machine may read"},
		"a bad line":          {write("bad", "one x", 0o600), "line 1: ", ""},
		"a pipe":              {pipe, "no regular file", ""},
		"a folder":            {dir, "a directory", ""},
		"absent":              {filepath.Join(dir, "absent"), "absent\", not a file of keys: no such file", ""},
		"a large one":         {write("large", good+strings.Repeat("#\n", 32<<10), 0o600), "larger than 64KiB", ""},
		"one long line":       {write("long", "#"+strings.Repeat("x", 64<<10-1), 0o600), "it has no key", ""},
		"the key itself":      {secretOf("1"), `"[hidden]"`, ""},
		"the whole line":      {"one " + secretOf("1"), `"[hidden]"`, ""},
		"none is asked for":   {"", "", ""},
		"a link, as in a pod": {link(t, filepath.Join(dir, "good")), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			_, err := seal.Load(c.path, slog.New(slog.NewTextHandler(&logged, nil)))
			if errors.Is(err, seal.ErrKeyFile) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if (logged.Len() == 0) != (c.logs == "") || !strings.Contains(logged.String(), c.logs) {
				t.Errorf("logged %q, want %q", &logged, c.logs)
			}
			if said := fmt.Sprint(err, logged.String()); strings.Contains(said, secretOf("1")) {
				t.Errorf("it shows the secret: %s", said)
			}
		})
	}
}

func link(t *testing.T, target string) string {
	path := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeysAreNotPrinted(t *testing.T) {
	k := keysOf(t, "one "+secretOf("1"))
	holder := struct{ Seal *seal.Keys }{k}
	var logged bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(h).Info("keys", "keys", k, "holder", holder)
	}
	for _, said := range []string{
		fmt.Sprint(k), fmt.Sprintf("%+v %#v %s %x %q %d", k, k, k, k, k, k),
		fmt.Sprintf("%+v %#v %x", holder, holder, holder),
		logged.String(),
	} {
		for _, secret := range []string{
			strings.Repeat("1", 32), strings.Repeat("31", 8), "49 49", "100 100", "0x31", secretOf("d")[:8],
		} {
			if strings.Contains(said, secret) {
				t.Errorf("%s", said)
			}
		}
	}
}
