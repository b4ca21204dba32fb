package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oncegate/oncegate/internal/dashboard"
)

// paint gives a text one of the terminal's colours.
type paint func(colour, text string) string

// The colours, as SGR numbers: those that every terminal has, in its own shades.
const (
	blue   = "34"
	yellow = "33"
	red    = "1;31"
	green  = "32"
	bold   = "1"
)

func plain(_, text string) string { return text }

func coloured(colour, text string) string { return "\x1b[" + colour + "m" + text + "\x1b[0m" }

// Rows of the picture.
const (
	rowsUp   = 5
	rowsDown = 2
)

// frame draws the whole state into a window.
func frame(s *dashboard.State, lost error, width, height int, as paint) string {
	if width < 40 || height < 12 {
		return "make the window larger"
	}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if lost != nil { // nobody knows the state now
		add("%s", as(red, cut("the connection is lost: "+lost.Error(), width)))
		add("Below is what was seen last.")
	} else {
		for _, v := range s.Verdicts {
			add("%s", as(levels[v.Level], cut(ofAll(s)+v.Sentence, width)))
			if v.Do != "" {
				add("%s", cut("  "+v.Do, width))
			}
		}
	}
	w, whose := s.Window, ""
	if s.Tenant != "" {
		whose = "tenant " + s.Tenant + ": "
	}
	add("%s%s deliveries arrived, %s executed (%s)", whose, as(blue, thousands(w.Deliveries)),
		as(yellow, thousands(w.Executions)), span(s))
	oldest := ""
	if s.OldestMS > 0 {
		oldest = fmt.Sprintf(" (oldest %s)", time.Duration(s.OldestMS)*time.Millisecond)
	}
	add("%d running%s, %d waiting", s.Executing, oldest, s.Waiting)
	add("%s", cut(fmt.Sprintf("In all, by Redis' counters: %s answered, %s executed", thousands(s.All.Deliveries),
		thousands(s.All.Executions)), width))
	lines = append(lines, picture(s, width, as)...)
	lines = append(lines, answers(s, width, as)...)
	lines = append(lines, hottest(s, width, height-len(lines)-len(s.Replicas)-2, as)...)
	lines = append(lines, replicas(s, width, as)...)
	return strings.Join(lines[:min(len(lines), height)], "\n")
}

// ofAll returns the words before numbers that are of all tenants, if one tenant was chosen.
func ofAll(s *dashboard.State) string {
	if s.Tenant == "" {
		return ""
	}
	return "[all tenants] "
}

var levels = map[dashboard.Level]string{dashboard.Well: green, dashboard.Warning: yellow, dashboard.Bad: red}

// span returns how far back the picture's numbers go.
func span(s *dashboard.State) string {
	return "last " + (time.Duration(max(len(s.Seconds), 1)) * time.Second).String()
}

// picture draws arrivals above a line, and executions below it, on one scale. Every number above 0 is visible.
func picture(s *dashboard.State, width int, as paint) []string {
	const label = 8
	seconds := s.Seconds[max(len(s.Seconds)-(width-label), 0):]
	var most int64 = 1
	for _, second := range seconds {
		most = max(most, second[1], second[2]*rowsUp/rowsDown)
	}
	blank := strings.Repeat(" ", width-label-len(seconds))
	var lines []string
	for row := rowsUp - 1; row >= 0; row-- {
		var bars strings.Builder
		for _, second := range seconds {
			bars.WriteRune(block(second[1], most, rowsUp, row))
		}
		name := strings.Repeat(" ", label)
		if row == rowsUp-1 {
			name = fmt.Sprintf("%*s ", label-1, thousands(most))
		}
		lines = append(lines, name+blank+as(blue, bars.String()))
	}
	lines = append(lines, "arrived "+strings.Repeat("─", width-label))
	for row := range rowsDown {
		var bars strings.Builder
		for _, second := range seconds {
			// The only blocks that hang from above are the full one and the upper half.
			switch eighths := heightOf(second[2], most, rowsUp) - 8*row; {
			case eighths >= 8:
				bars.WriteRune('█')
			case eighths > 0:
				bars.WriteRune('▀')
			default:
				bars.WriteRune(' ')
			}
		}
		name := strings.Repeat(" ", label)
		if row == 0 {
			name = "executed"[:label]
		}
		lines = append(lines, name+blank+as(yellow, bars.String()))
	}
	return lines
}

// heightOf returns the height of a bar in eighths of a row.
func heightOf(n, most int64, rows int) int {
	if n <= 0 {
		return 0
	}
	return int(max(n*int64(8*rows)/most, 1))
}

// block returns the part of a bar in a row; row 0 is the lowest one.
func block(n, most int64, rows, row int) rune {
	eighths := min(max(heightOf(n, most, rows)-8*row, 0), 8)
	return []rune(" ▁▂▃▄▅▆▇█")[eighths]
}

func answers(s *dashboard.State, width int, as paint) []string {
	title := "ANSWERS, LAST MINUTE"
	if s.Tenant != "" {
		title = "ANSWERS, ALL TENANTS"
	}
	head := fmt.Sprintf("%-20s %10s %12s %12s", title, "NUMBER", "MEDIAN", "99 %")
	lines := []string{as(bold, cut(head, width))}
	for _, l := range s.Latency {
		lines = append(lines, cut(fmt.Sprintf("%-20s %10s %12s %12s", strings.ReplaceAll(l.Outcome, "_", " "),
			thousands(int64(l.Count)), milliseconds(l.P50), milliseconds(l.P99)), width))
	}
	return lines
}

func hottest(s *dashboard.State, width, room int, as paint) []string {
	if room <= 0 || len(s.Hot) == 0 {
		return nil
	}
	head := fmt.Sprintf("%-20s %10s %8s  %s", "MOST DUPLICATES", "NUMBER", "ATTEMPT", "STATE")
	lines := []string{as(bold, cut(head, width))}
	for _, h := range s.Hot[:min(len(s.Hot), room)] {
		number := thousands(int64(h.Duplicates))
		if h.Error > 0 {
			number = "≤" + number
		}
		state := h.State
		if h.Tenant != "" {
			state = h.Tenant + ": " + state
		}
		lines = append(lines, cut(fmt.Sprintf("%-20.16s %10s %8d  %s", h.Fingerprint, number, h.Attempt, state), width))
	}
	return lines
}

func replicas(s *dashboard.State, width int, as paint) []string {
	name := min(max(width-44, 8), 48) // the width that the other columns leave
	head := fmt.Sprintf("%-*s %-21s %8s %5s %5s", name, "REPLICA", "HEALTH", "DELIV./S", "RUN", "WAIT")
	lines := []string{as(bold, cut(head, width))}
	for _, r := range s.Replicas {
		line := cut(fmt.Sprintf("%-*.*s %-21.21s %8d %5d %5d", name, name, r.Name, r.Health, r.Rate, r.Executing, r.Waiting),
			width)
		if r.Health != "well" {
			line = as(red, line)
		}
		lines = append(lines, line)
	}
	return lines
}

// cut shortens a text to so many characters, and removes characters that could control the terminal: other programs
// choose the names.
func cut(text string, width int) string {
	runes := slices.DeleteFunc([]rune(text), func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
	if len(runes) > width {
		runes = append(runes[:max(width-1, 0)], '…')
	}
	return string(runes)
}

// thousands writes a number with commas.
func thousands(n int64) string {
	digits := fmt.Sprint(n)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func milliseconds(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
