package trail

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// Bounds of the part of an event that describes its request.
const (
	maxValue = 256  // bytes of a value; a longer one is cut
	maxAbout = 4096 // bytes of all; further fields are left out
)

// The names of the parts of Cognigy's identity.
const (
	Dialog   = "dialogId"
	Node     = "nodeId"
	Sequence = "sequence"
)

// About describes an event's request in written form: "<name>=<value>" for each part of the identity and each field of
// TRAIL_FIELDS, with "&" between them, both escaped as in a URL's query.
type About []byte

// Add appends a field, if there is room.
func (a *About) Add(name, value string) {
	name, value = url.QueryEscape(name), url.QueryEscape(cut(value))
	if len(*a)+len("&")+len(name)+len("=")+len(value) > maxAbout {
		return
	}
	if len(*a) > 0 {
		*a = append(*a, '&')
	}
	*a = append(append(append(*a, name...), '='), value...)
}

// cut shortens a value that is too long, and marks it.
func cut(value string) string {
	if len(value) <= maxValue {
		return value
	}
	end := maxValue
	for end > maxValue-utf8.UTFMax && !utf8.RuneStart(value[end]) { // a person may ask for text that is not UTF-8
		end--
	}
	return value[:end] + "…"
}

// Field is a part of a request. The trail can be searched by it.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// fields reads an About. A text that is no About has no fields.
func fields(about string) (all []Field) {
	for pair := range strings.SplitSeq(about, "&") {
		name, value, found := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if found && err1 == nil && err2 == nil {
			all = append(all, Field{name, value})
		}
	}
	return all
}

// Is reports whether a name and a value mean this field: the name may be the whole path, or the end of it.
func (f Field) Is(name, value string) bool {
	return f.Value == cut(value) && (f.Name == name || strings.HasSuffix(f.Name, "."+name))
}
