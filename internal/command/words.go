package command

import (
	"fmt"
	"strings"
	"time"
)

// moment returns a point in time with its distance from now.
func moment(t, now time.Time) string {
	if t.After(now) {
		return date(t) + ", in " + length(t.Sub(now))
	}
	return date(t) + ", " + length(now.Sub(t)) + " ago"
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// length returns a duration, rounded to what a person cares about.
func length(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// many returns a number of things in words.
func many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// columns bounds the width of a value on a page.
const columns = 96

// wrapped breaks a long text into rows at spaces.
func wrapped(text string) (rows []string) {
	for len(text) > columns {
		at := strings.LastIndexByte(text[:columns+1], ' ')
		if at <= 0 {
			break
		}
		rows, text = append(rows, text[:at]), text[at+1:]
	}
	return append(rows, text)
}
