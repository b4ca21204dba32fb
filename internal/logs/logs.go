// Package logs builds the program's logger: one line for each event, as text for a person or as JSON for a log search.
package logs

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/oncegate/oncegate/internal/config"
)

// New returns the logger that c describes.
func New(c config.Log, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level, ReplaceAttr: onOneLine}
	if c.Format == config.LogJSON {
		options.ReplaceAttr = searchable
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// onOneLine writes joined errors on one line: behind an escaped newline a person would overlook the second error.
func onOneLine(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok {
		return slog.String(a.Key, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return a
}

// searchable makes JSON show what a text line shows. A length of time becomes a number of milliseconds, with the unit
// in its name. A value with a String method becomes that text; otherwise JSON would show its fields or bytes.
func searchable(groups []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case time.Duration:
		return slog.Float64(a.Key+"_ms", float64(v.Round(time.Microsecond))/float64(time.Millisecond))
	case error:
		return onOneLine(groups, a)
	case time.Time, slog.Level: // slog's JSON handler writes these well
	case fmt.Stringer:
		return slog.String(a.Key, v.String())
	}
	return a
}
