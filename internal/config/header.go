package config

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/oncegate/oncegate/internal/record"
)

// token is a header's name: an HTTP token, but for the percent sign, which a header of a record can't have.
var token = regexp.MustCompile("^[A-Za-z0-9!#$&'*+.^_`|~-]+$")

const writtenHere = "the gateway writes it itself, like all that frames a message or belongs to one connection, " +
	"the key, and " +
	"Authorization with UPSTREAM_OAUTH_…"

// names holds each name to the form of one, and to what its setting refuses (in lower case).
func (p *problems) names(setting string, names []string, refuses func(lower string) bool, why string) {
	for _, name := range names {
		isName := token.MatchString(name)
		p.unless(isName, "%s holds something that is no header's name (not shown, since it may be a secret): "+
			"names are of letters, digits and hyphens, those of a list separated by commas", setting)
		p.unless(!isName || !refuses(strings.ToLower(name)), "%s names %s: %s", setting, name, why)
	}
}

// writes says whether the gateway sets a header of its requests to the backend itself.
func (u Upstream) writes(lower string) bool {
	return record.Frames(lower) || lower == "idempotency-attempt" || lower == strings.ToLower(u.KeyHeader) ||
		lower == "authorization" && u.OAuthTokenURL != ""
}

// noKey says whether a header of a request has a meaning that leaves no room for the key.
func noKey(lower string) bool {
	return record.Frames(lower) || lower == "authorization" || lower == "idempotency-attempt"
}

// header reads a line such as "Name: value".
func header(line string) (h record.Header, ok bool) {
	name, value, found := strings.Cut(strings.TrimSpace(line), ":")
	h = record.Header{Name: name, Value: strings.TrimSpace(value)}
	return h, found && token.MatchString(name) && !strings.ContainsFunc(h.Value, unicode.IsControl)
}
