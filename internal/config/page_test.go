package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// page is the page with the tables of all settings.
const page = "../../docs/configuration.md"

// TestThePageOfSettingsIsTheCode compares the page with the settings in both directions: names, defaults, and which of
// them may come from a file.
func TestThePageOfSettingsIsTheCode(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	parser, err := kong.New(new(CommandLine), append(readers(), kong.Vars{"version": ""})...)
	if err != nil {
		t.Fatal(err)
	}
	told := settingsOn(t, string(text))
	var secrets []string
	for _, flag := range parser.Model.Flags {
		name, ok := variable(flag)
		if !ok || flag.Hidden {
			continue
		}
		byDefault, there := told[name]
		switch {
		case !there:
			t.Errorf("%s is missing on the page", name)
		case byDefault != defaultOf(flag):
			t.Errorf("%s: the page says %q, and its default is %q", name, byDefault, defaultOf(flag))
		}
		delete(told, name)
		if isSecret(flag) {
			secrets = append(secrets, name)
		}
	}
	for name := range told {
		t.Errorf("%s is on the page and is no setting", name)
	}
	_, section, _ := strings.Cut(string(text), "The settings that are secrets:")
	section, _, _ = strings.Cut(section, "\n\n")
	if named := regexp.MustCompile(`[A-Z_]{4,}`).FindAllString(section, -1); !slices.Equal(named, secrets) {
		t.Errorf("secrets on the page: %q\nsecrets: %q", named, secrets)
	}
}

// settingsOn returns the settings in the page's tables with their defaults.
func settingsOn(t *testing.T, text string) map[string]string {
	told := make(map[string]string)
	row := regexp.MustCompile("(?m)^\\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \\| (?:`(.*?)` )?\\| ")
	for _, cells := range row.FindAllStringSubmatch(text, -1) {
		for name := range strings.SplitSeq(cells[1], ", ") {
			name = strings.Trim(name, "`")
			if _, twice := told[name]; twice {
				t.Errorf("%s is on the page twice", name)
			}
			told[name] = cells[2]
		}
	}
	return told
}

// defaultOf returns a setting's default. For an address, or a part of Redis' address, it is the placeholder, because it
// makes a difference whether the setting was given.
func defaultOf(flag *kong.Flag) string {
	if !flag.HasDefault && strings.Trim(flag.PlaceHolder, "0123456789.:") == "" {
		return flag.PlaceHolder
	}
	return flag.Default
}
