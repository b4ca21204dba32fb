package config

import (
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Bytes is a size in bytes, written as 65536, 64KiB or 1MiB.
type Bytes int64

// The units of a size.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
)

// String writes the size in the largest unit that leaves a whole number.
func (b Bytes) String() string {
	switch {
	case b != 0 && b%MiB == 0:
		return fmt.Sprintf("%dMiB", b/MiB)
	case b != 0 && b%KiB == 0:
		return fmt.Sprintf("%dKiB", b/KiB)
	}
	return strconv.FormatInt(int64(b), 10)
}

// Port is a TCP port. 0 cannot be given: it means that no port was given.
type Port uint16

// Secret is text that may hold a password. It is hidden wherever it is printed, logged or marshalled; string(s) returns
// the text itself.
type Secret string

const hidden = "[hidden]"

// String hides the text, but shows whether there is one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the text from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText hides the text from JSON and slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Moment is a point in time, or a length of time before now. The zero Moment means that none was given.
type Moment struct {
	at  time.Time
	ago time.Duration
}

// Before returns the point in time that is meant if the time is now.
func (m Moment) Before(now time.Time) time.Time {
	if m.ago > 0 {
		return now.Add(-m.ago)
	}
	return m.at
}

// badValue is the error of a value that cannot be read. It has the form of Validate's errors, whether the value came
// from a flag or the environment.
type badValue string

func (b badValue) Error() string { return string(b) }

// reads makes parse the reader of all values of type T. must says what a value must be.
func reads[T any](parse func(string) (T, error), must string) kong.Option {
	return kong.TypeMapper(reflect.TypeFor[T](),
		kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
			token, err := ctx.Scan.PopValue("")
			if err != nil { // kong's own error would quote the next argument, perhaps a password
				return badValue(fmt.Sprintf("--%[1]s needs a value (one that begins with a hyphen: --%[1]s=VALUE)", ctx.Value.Name))
			}
			given := fmt.Sprint(token.Value)
			value, err := parse(given)
			if err != nil {
				return badValue(fmt.Sprintf("%s is %q: %s", upperSnake(ctx.Value.Name), given, must))
			}
			target.Set(reflect.ValueOf(value))
			return nil
		}))
}

// readers returns the reader of each type of value.
func readers() []kong.Option {
	return []kong.Option{
		reads(asItIs[string], ""),
		reads(asItIs[Secret], ""),
		reads(asItIs[ResponseMode], ""),
		reads(asItIs[InDoubt], ""),
		reads(asItIs[Mismatch], ""),
		reads(asItIs[Executions], ""),
		reads(asItIs[LogFormat], ""),
		reads(asItIs[KeyFormat], ""),
		reads(strconv.Atoi, "must be a whole number"),
		reads(sequence, "must be a whole number of 64 bits, without leading zeros or a plus sign"),
		reads(port, "must be a port, 1 to 65535 (tcp://… comes from Kubernetes, beside a Service named redis: "+
			"enableServiceLinks: false prevents it)"),
		reads(time.ParseDuration, "must be a length of time with its unit, such as 500ms, 60s or 1h30m"),
		reads(moment, "must be a time such as 2026-07-29T08:00:00Z (RFC 3339), or how long ago, such as 90m or 24h"),
		reads(size, "must be a size such as 65536, 64KiB or 1MiB"),
		reads(level, "must be debug, info, warn or error"),
	}
}

// list splits text at any of the separators. It trims white space around the items and drops empty ones.
func list(text, separators string) (items []string) {
	for item := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func asItIs[T ~string](text string) (T, error) { return T(text), nil }

// sequence reads canonical decimal, as the decoder of webhooks does for a sequence that is a string.
func sequence(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil && strconv.FormatInt(n, 10) != text {
		err = strconv.ErrSyntax
	}
	return n, err
}

func port(text string) (Port, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return Port(n), err
}

func size(text string) (Bytes, error) {
	unit := Bytes(1)
	if digits, ok := strings.CutSuffix(text, "KiB"); ok {
		text, unit = digits, KiB
	} else if digits, ok := strings.CutSuffix(text, "MiB"); ok {
		text, unit = digits, MiB
	}
	n, err := strconv.ParseInt(text, 10, 32) // no unit can overflow it
	return Bytes(n) * unit, err
}

func moment(text string) (Moment, error) {
	if ago, err := time.ParseDuration(text); err == nil {
		if ago <= 0 {
			err = strconv.ErrRange
		}
		return Moment{ago: ago}, err
	}
	at, err := time.Parse(time.RFC3339, text)
	return Moment{at: at.UTC()}, err
}

func level(text string) (slog.Level, error) {
	var l slog.Level
	err := l.UnmarshalText([]byte(text))
	return l, err
}
