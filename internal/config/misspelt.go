package config

import (
	"slices"
	"strings"
)

// Misspelt is an environment variable whose name is nearly that of a setting, and which therefore has no effect.
type Misspelt struct {
	Given string
	Meant string // the setting whose name is nearest
}

// Misspellings finds such variables in an environment in the form of os.Environ: EXECUTION_TIMOUT, or lock_ttl.
// Variables of other programs, such as a Service's REDIS_PORT_6379_TCP, are further from our names than a slip of the
// pen.
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

// variables returns the sorted names of the variables of all settings, including those that name a secret's file.
func variables() (names []string, err error) {
	flags, err := settings(new(CommandLine))
	if err != nil {
		return nil, err
	}
	for _, flag := range flags {
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

// longName is the length from which a name may have two slips. In a shorter one, two slips make another word.
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

// distance returns how many letters must be added, dropped, changed, or swapped with their neighbour to turn a into b.
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
