package config

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/oncegate/oncegate/internal/record"
)

// headerToken matches the name of a header: an HTTP token without the percent sign, which a record's headers cannot
// hold.
var headerToken = regexp.MustCompile("^[A-Za-z0-9!#$&'*+.^_`|~-]+$")

const writtenHere = "the gateway writes it itself, like all that frames a message or belongs to one connection, " +
	"the key, and " +
	"Authorization with UPSTREAM_OAUTH_…"

// names checks that each name is the name of a header, and that the setting does not refuse it.
func (p *problems) names(setting string, names []string, refuses func(lower string) bool, why string) {
	for _, name := range names {
		isName := headerToken.MatchString(name)
		p.unless(isName, "%s holds something that is no header's name (not shown, since it may be a secret): "+
			"names are of letters, digits and hyphens, those of a list separated by commas", setting)
		p.unless(!isName || !refuses(strings.ToLower(name)), "%s names %s: %s", setting, name, why)
	}
}

// writes reports whether the gateway itself sets this header in its requests to the backend.
func (u Upstream) writes(lower string) bool {
	return record.Frames(lower) || lower == "idempotency-attempt" || lower == strings.ToLower(u.KeyHeader) ||
		lower == "authorization" && u.OAuthTokenURL != ""
}

// noKey reports whether a request header already has a meaning, so that it cannot carry the key.
func noKey(lower string) bool {
	return record.Frames(lower) || lower == "authorization" || lower == "idempotency-attempt"
}

// header parses a line "Name: value".
func header(line string) (h record.Header, ok bool) {
	name, value, found := strings.Cut(strings.TrimSpace(line), ":")
	h = record.Header{Name: name, Value: strings.TrimSpace(value)}
	return h, found && headerToken.MatchString(name) && !strings.ContainsFunc(h.Value, unicode.IsControl)
}
