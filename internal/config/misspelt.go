package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Misspelt is an environment variable that is nearly one of ours, and so means nothing.
type Misspelt struct {
	Given string
	Meant string // the setting whose name is nearest
}

// Misspellings finds them in an environment, as os.Environ returns it: EXECUTION_TIMOUT, or lock_ttl. What other
// programs put there, such as a Service's REDIS_PORT_6379_TCP, is further from our names than a slip of the pen.
func Misspellings(environ []string) ([]Misspelt, error) {
	ours, err := variables()
	if err != nil {
		return nil, err
	}
	var found []Misspelt
	for _, entry := range environ {
		given, value, _ := strings.Cut(entry, "=")
		if value == "" || slices.Contains(ours, given) {
			continue
		}
		if meant, ok := nearest(given, ours); ok {
			found = append(found, Misspelt{given, meant})
		}
	}
	return found, nil
}

// variables are the names of all settings, with those of secrets' files.
func variables() (names []string, err error) {
	parser, err := kong.New(new(CommandLine), append(readers(), kong.Vars{"version": ""})...)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	for _, flag := range parser.Model.Flags {
		name, ok := variable(flag)
		if !ok || flag.Hidden {
			continue
		}
		names = append(names, name)
		if isSecret(flag) {
			names = append(names, name+fileSuffix)
		}
	}
	slices.Sort(names)
	return names, nil
}

// longName is from which length on a name may have two slips; in a shorter one two make another word.
const longName = 12

func nearest(given string, ours []string) (meant string, ok bool) {
	best := 3
	for _, name := range ours {
		slips := distance(strings.ToUpper(given), name)
		if slips < best && (slips < 2 || len(name) >= longName) {
			meant, best = name, slips
		}
	}
	return meant, best < 3
}

// distance is how many letters must be added, dropped, changed or swapped with the next to make b of a.
func distance(a, b string) int {
	const far = 3
	if len(a) > len(b)+far || len(b) > len(a)+far {
		return far
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			changed := last[j]
			if a[i] != b[j] {
				changed++
			}
			row[j+1] = min(changed, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
