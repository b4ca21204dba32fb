package upstream_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-json"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/upstream"
)

// utf16 returns a text of ASCII and Latin-1 encoded in UTF-16.
func utf16(text string, bigEndian bool) string {
	var b strings.Builder
	for _, r := range text {
		if bigEndian {
			b.Write([]byte{byte(r >> 8), byte(r)})
		} else {
			b.Write([]byte{byte(r), byte(r >> 8)})
		}
	}
	return b.String()
}

func TestWhatTheBackendMeantStandsInAnEnvelope(t *testing.T) {
	const octets, text = "application/octet-stream", "text/plain"
	for name, c := range map[string]struct{ declared, body, kind, means string }{
		"JSON":                  {record.JSON, `{"a":[1]}`, record.JSON, `{"a":[1]}`},
		"JSON with white space": {record.JSON, " 7 \n", record.JSON, " 7 \n"},
		"JSON with a charset":   {"application/json; charset=utf-8", `{}`, record.JSON, `{}`},
		"JSON in capitals":      {"Application/JSON", `{}`, record.JSON, `{}`},
		"a problem":             {"application/problem+json", `{}`, record.JSON, `{}`},
		"HAL with a profile":    {`application/hal+json; profile="x; charset=y"`, `{}`, record.JSON, `{}`},
		"declared twice":        {"application/json, application/json", `{}`, record.JSON, `{}`},
		"an old name":           {"text/json", `{}`, record.JSON, `{}`},
		"numbers keep their digits": {record.JSON, `{"n":12345678901234567890.10}`, record.JSON,
			`{"n":12345678901234567890.10}`},
		"a mark":                     {record.JSON, "\ufeff{}", record.JSON, `{}`},
		"a guard":                    {record.JSON, ")]}',\n{\"a\":1}", record.JSON, `{"a":1}`},
		"a guard without a comma":    {record.JSON, ")]}'\n[]", record.JSON, `[]`},
		"a mark and a guard":         {record.JSON, "\ufeff)]}'\n[]", record.JSON, `[]`},
		"a loop as guard":            {record.JSON, "while(1);{}", record.JSON, `{}`},
		"another loop as guard":      {record.JSON, "for(;;);{}", record.JSON, `{}`},
		"Latin-1":                    {"application/json; charset=ISO-8859-1", "{\"a\":\"\xe9\"}", record.JSON, `{"a":"é"}`},
		"Windows' Latin-1":           {`application/json;charset="windows-1252"`, "\"\x80\"", record.JSON, `"€"`},
		"declared Latin-1, is UTF-8": {"application/json; charset=ISO-8859-1", `"é"`, record.JSON, `"é"`},
		"a charset that is none":     {"application/json; charset=utf8mb4", `"é"`, record.JSON, `"é"`},
		"Shift JIS":                  {"application/json; charset=Shift_JIS", "\"\x83\x65\"", record.JSON, `"テ"`},
		"UTF-16, declared": {"application/json; charset=utf-16", utf16(`{"a":"é"}`, false), record.JSON,
			`{"a":"é"}`},
		"UTF-16, by the standard":   {"application/json; charset=utf-16", utf16(`{"a":"é"}`, true), record.JSON, `{"a":"é"}`},
		"UTF-16, with a mark":       {record.JSON, "\xff\xfe" + utf16(`{"a":"é"}`, false), record.JSON, `{"a":"é"}`},
		"UTF-16, big, with a mark":  {record.JSON, "\xfe\xff" + utf16(`"é"`, true), record.JSON, `"é"`},
		"UTF-16, found":             {record.JSON, utf16(`{"a":"é"}`, false), record.JSON, `{"a":"é"}`},
		"UTF-16, big, found":        {record.JSON, utf16(`{"a":"é"}`, true), record.JSON, `{"a":"é"}`},
		"no type, but an object":    {"", " {\"a\":1}", record.JSON, " {\"a\":1}"},
		"no type, but an array":     {"", `[]`, record.JSON, `[]`},
		"a type that is none":       {"json", `{}`, record.JSON, `{}`},
		"no type, a number":         {"", `7`, octets, `7`},
		"no type, a text in braces": {"", `{name}`, octets, `{name}`},
		"text":                      {text, `ok`, text, `ok`},
		"JSON declared as text":     {text, `{}`, text, `{}`},
		"a page":                    {"text/html; charset=utf-8", `<p>é`, "text/html; charset=utf-8", `<p>é`},
		"a page with a mark":        {"text/html", "\ufeff<p>", "text/html; charset=utf-8", `<p>`},
		"a page in Latin-1":         {"text/html; charset=iso-8859-1", "<p>\xe9", "text/html; charset=utf-8", `<p>é`},
		"a page in UTF-16": {"text/html; charset=utf-16le", utf16("<p>é", false), "text/html; charset=utf-8",
			`<p>é`},
		"XML":                   {"application/xml", `<a/>`, "application/xml", `<a/>`},
		"text of another type":  {octets, `ok`, octets, `ok`},
		"nothing":               {"", ``, octets, ``},
		"nothing, as JSON":      {record.JSON, ``, "application/json; charset=utf-8", ``},
		"white space, as JSON":  {record.JSON, "\r\n", "application/json; charset=utf-8", ``},
		"a mark alone, as JSON": {record.JSON, "\ufeff", "application/json; charset=utf-8", ``},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, upstream.Options{URL: answers(t, typed(c.declared), c.body)}).gives(webhook())
			equal(t, []string{r.ContentType, string(r.Body)}, []string{c.kind, c.means})
		})
	}
}

func TestAnAnswerThatCanNotBeReadIsNoSuccess(t *testing.T) {
	for name, c := range map[string]struct{ declared, body, tells string }{
		"JSON, cut":                {record.JSON, `{"a":"` + secret, "ends in the middle, after 12 bytes"},
		"two JSON texts":           {record.JSON, `{} {}`, "something follows its end, at byte 4"},
		"a warning behind it":      {record.JSON, "{}\n<b>Warning</b> " + secret, "something follows its end, at byte 4"},
		"a warning before it":      {record.JSON, "<br /><b>Warning</b> " + secret + "{}", "begins as HTML"},
		"a page declared as JSON":  {record.JSON, "<html>" + secret, "begins as HTML"},
		"a word declared as JSON":  {record.JSON, secret, "at byte 1"},
		"NaN":                      {record.JSON, `{"a":NaN}`, "NaN or Infinity, which JSON does not know, at byte 6"},
		"Infinity":                 {record.JSON, `[-Infinity]`, "NaN or Infinity"},
		"single quotes":            {record.JSON, `{'a':1}`, "at byte 2"},
		"a comma too many":         {"application/problem+json", `[1,]`, "at byte 4"},
		"a guard and a word":       {record.JSON, ")]}'\n" + secret, "at byte 1"},
		"bytes that are no UTF-8":  {record.JSON, "\"\xe9\"", "not UTF-8"},
		"declared UTF-8, and none": {"application/json; charset=utf-8", "\"\xe9\"", "not UTF-8"},
		"a charset that is none":   {"application/json; charset=" + secret, "\"\xe9\"", "not UTF-8"},
		"half a character":         {"application/json; charset=utf-16", utf16(`"a"`, false) + "x", "not in the charset"},
		"half a surrogate":         {record.JSON, "\xff\xfe\"\x00\x00\xd8\"\x00", "not in the charset"},
		"text that is no UTF-8":    {"text/html", "<p>\xe9", "no text"},
		"text with bytes of 0":     {"text/plain", "a\x00b\x00", "no text"},
		"an image":                 {"image/png", "\x89PNG\r\n\x1a\n", "RESPONSE_MODE=passthrough"},
		"a document of no type":    {"", "%PDF-1.7\n%\xe2\xe3\xcf\xd3", "RESPONSE_MODE=passthrough"},
		"JSON that is no text":     {record.JSON, "{\"a\":\"\x00\"}", "bytes of 0"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, upstream.Options{URL: answers(t, typed(c.declared), c.body)})
			if text := h.fails(t.Context(), webhook(), unknown); !strings.Contains(text, c.tells) {
				t.Errorf("error %s", text)
			}
		})
	}
}

func TestARefusalThatCanNotBeReadIsAFailureForCertain(t *testing.T) {
	for name, c := range map[string]struct{ header, value, body string }{
		"no text":   {"Content-Type", "text/html", "<p>\xe9"},
		"no JSON":   {"Content-Type", record.JSON, "{"},
		"brotli":    {"Content-Encoding", "br", "\x8b"},
		"too large": {"Content-Type", "text/plain", strings.Repeat("x", maxResultBytes+1)},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(c.header, c.value)
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = io.WriteString(w, c.body)
			})
			h := open(t, upstream.Options{URL: url, BreakerFailures: 1, BreakerPause: long})
			if text := h.fails(t.Context(), webhook()); !strings.Contains(text, "refused with 401") {
				t.Errorf("error %s", text)
			}
			equal(t, h.admits(), true)
		})
	}
}

func TestATextThatGrowsPastTheLimitIsTooLarge(t *testing.T) {
	body := `"` + strings.Repeat("\xe9", maxResultBytes-2) + `"`
	h := open(t, upstream.Options{URL: answers(t, typed("application/json; charset=iso-8859-1"), body)})
	h.fails(t.Context(), webhook(), unknown)
}

// A result whose type is record.JSON is valid JSON, whatever a backend sends.
func FuzzMeaning(f *testing.F) {
	for _, body := range []string{`{}`, "\ufeff[]", ")]}'\n{}", "{\x00}\x00", "\xff\xfe{\x00}\x00", "NaN", "\x00{",
		"\"\xe9\""} {
		for _, declared := range []string{"", record.JSON, "text/html; charset=iso-8859-1",
			"application/x+json; charset=utf-16", "image/png"} {
			f.Add(declared, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, declared string, body []byte) {
		kind, said, err := upstream.Meaning(declared, body)
		if err == nil && kind == record.JSON && !json.Valid(said) {
			t.Errorf("%q of type %q is called JSON: %q", body, declared, said)
		}
		if err == nil && !utf8.Valid(said) {
			t.Errorf("%q of type %q is no text: %q", body, declared, said)
		}
	})
}
