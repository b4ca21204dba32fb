package command

import "time"

// moment writes a point in time, and how far from now it is.
func moment(t, now time.Time) string {
	if t.After(now) {
		return date(t) + ", in " + length(t.Sub(now))
	}
	return date(t) + ", " + length(now.Sub(t)) + " ago"
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// length writes a duration no finer than a person cares for.
func length(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
