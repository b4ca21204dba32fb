package upstream

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-json"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"

	"github.com/oncegate/oncegate/internal/record"
)

// meaning returns the content of a body in a form that fits into an envelope: JSON with the content type record.JSON,
// or text. Both are UTF-8. It is an error if the body cannot be read as its declared type.
func meaning(declared string, body []byte) (contentType string, said []byte, err error) {
	text, err := utf8Of(declared, body)
	if isJSON(declared) {
		if err == nil {
			text, err = plainJSON(text)
		}
		switch {
		case err != nil:
			return "", nil, fmt.Errorf("it is declared as JSON and can't be read as that: %w", err)
		case len(text) == 0:
			return brokenJSON, nil, nil
		}
		return record.JSON, text, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("it is no text (%w), and can't stand in an envelope: "+
			"declare its charset, or use RESPONSE_MODE=passthrough", err)
	}
	media := mediaType(declared)
	switch {
	case strings.Contains(media, "/"):
		if len(text) != len(body) || !utf8.Valid(body) {
			return media + "; charset=utf-8", text, nil
		}
		return declared, text, nil
	case looksLikeJSON(text) && json.Valid(text):
		return record.JSON, text, nil
	}
	return unknownType, text, nil
}

// mediaType returns a content type without its parameters, in lower case. Some proxies send the type twice, separated
// by a comma.
func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	media, _, _ = strings.Cut(media, ",")
	return strings.ToLower(strings.TrimSpace(media))
}

// isJSON reports whether a content type declares JSON (RFC 8259, section 11; RFC 6839, section 3.1). It also knows
// names that were used before JSON had an official one.
func isJSON(contentType string) bool {
	switch media := mediaType(contentType); media {
	case record.JSON, "text/json", "text/x-json", "application/x-json":
		return true
	default:
		return strings.HasSuffix(media, "+json")
	}
}

func looksLikeJSON(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

var (
	errUTF8    = errors.New("it is not UTF-8, and declares no other known charset")
	errCharset = errors.New("it is not in the charset that it declares")
	errBinary  = errors.New("it has bytes of 0")
)

// utf8Of returns the text of a body as UTF-8, without a byte order mark. A byte order mark takes precedence over the
// declared charset. JSON is UTF-8 by RFC 8259, section 8.1: another declared or detected charset counts only if the
// body is not valid UTF-8.
func utf8Of(declared string, body []byte) (text []byte, err error) {
	if text, marked := bytes.CutPrefix(body, []byte("\ufeff")); marked {
		return checkUTF8(text)
	}
	label := charset(declared)
	from, marked := utf16Of(body)
	switch {
	case from != nil && (marked || isJSON(declared) || strings.HasPrefix(label, "utf-16")):
	case label == "", label == "utf-8", isJSON(declared) && utf8.Valid(body):
		return checkUTF8(body)
	default:
		if from, err = htmlindex.Get(label); err != nil {
			return nil, errUTF8
		}
	}
	text, err = from.NewDecoder().Bytes(body)
	if err != nil || bytes.ContainsRune(text, utf8.RuneError) {
		return nil, errCharset
	}
	return checkUTF8(bytes.TrimPrefix(text, []byte("\ufeff")))
}

func checkUTF8(text []byte) ([]byte, error) {
	switch {
	case !utf8.Valid(text):
		return nil, errUTF8
	case bytes.IndexByte(text, 0) >= 0:
		return nil, errBinary
	}
	return text, nil
}

// charset returns the charset that a content type declares, by its name in the WHATWG's Encoding Standard. It is "" if
// no known charset is declared.
func charset(contentType string) string {
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	known, err := htmlindex.Get(parameters["charset"])
	if err != nil {
		return ""
	}
	name, err := htmlindex.Name(known)
	if err != nil {
		return ""
	}
	return name
}

// utf16Of returns the kind of UTF-16 that the first two bytes of a body show, or nil. They show it by a byte order mark
// (then marked is true), or because the text begins with ASCII, as all JSON does.
func utf16Of(body []byte) (e encoding.Encoding, marked bool) {
	if len(body) < 2 {
		return nil, false
	}
	switch a, b := body[0], body[1]; {
	case a == 0xff && b == 0xfe:
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), true
	case a == 0xfe && b == 0xff:
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), true
	case b == 0 && 0 < a && a < utf8.RuneSelf:
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), false
	case a == 0 && 0 < b && b < utf8.RuneSelf:
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), false
	}
	return nil, false
}

// guards are prefixes that servers write before JSON, so that a page of another site can't run it as a script.
var guards = [][]byte{[]byte(")]}',"), []byte(")]}'"), []byte("while(1);"), []byte("for(;;);")}

// plainJSON checks a JSON text and returns it without such a prefix. It returns nothing for white space alone.
func plainJSON(text []byte) ([]byte, error) {
	bare := bytes.TrimLeft(text, " \t\r\n")
	for _, guard := range guards {
		if behind, guarded := bytes.CutPrefix(bare, guard); guarded {
			bare = bytes.TrimLeft(behind, " \t\r\n")
			text = bare
			break
		}
	}
	switch {
	case len(bare) == 0:
		return nil, nil
	case json.Valid(text):
		return text, nil
	}
	return nil, explainJSON(text)
}

// explainJSON says why a text is not JSON, and at which byte, without quoting the text.
func explainJSON(text []byte) error {
	var broken *stdjson.SyntaxError
	err := stdjson.Unmarshal(text, new(stdjson.RawMessage))
	if !errors.As(err, &broken) {
		return errors.New("it is not valid JSON")
	}
	at := text[max(0, min(int(broken.Offset)-1, len(text))):]
	switch {
	case bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("<")):
		return errors.New("it begins as HTML does")
	case strings.HasPrefix(broken.Error(), "unexpected end"):
		return fmt.Errorf("it ends in the middle, after %d bytes", len(text))
	case strings.HasSuffix(broken.Error(), "after top-level value"):
		return fmt.Errorf("something follows its end, at byte %d", broken.Offset)
	case bytes.HasPrefix(at, []byte("NaN")), bytes.HasPrefix(at, []byte("Infinity")):
		return fmt.Errorf("it has NaN or Infinity, which JSON does not know, at byte %d", broken.Offset)
	}
	return fmt.Errorf("it breaks the rules at byte %d", broken.Offset)
}
