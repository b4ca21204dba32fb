package handler

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestWhatScriptsAndTemplatesLeaveBehindIsNoIdentity(t *testing.T) {
	const (
		word     = ", which scripts write where a value is missing: was it set before the call?"
		template = " stand in it): is the name between them right, and does the caller fill in templates in this field?"
	)
	for id, found := range map[string]string{
		"undefined":                   `"undefined"` + word,
		"null":                        `"null"` + word,
		"NULL":                        `"NULL"` + word,
		"NaN":                         `"NaN"` + word,
		"None":                        `"None"` + word,
		"<nil>":                       `"<nil>"` + word,
		"<no value>":                  `"<no value>"` + word,
		"(null)":                      `"(null)"` + word,
		"%s":                          `"%s"` + word,
		"[object Object]":             `"[object …]"` + word,
		"[object Undefined]":          `"[object …]"` + word,
		" undefined\n":                `"undefined"` + word,
		"undefined-undefined":         `"undefined"` + word,
		"undefinedundefined":          `"undefined"` + word,
		"nullundefined":               `"undefined"` + word,
		"undefined:null":              `"null"` + word,
		"{{input.sessionId}}":         `a template that was not filled in ({{ and }}` + template,
		"session-{{ci.id}}":           `a template that was not filled in ({{ and }}` + template,
		"%7B%7Binput.sessionId%7D%7D": `a template that was not filled in (%7B%7B and %7D%7D` + template,
		"${sessionId}":                `a template that was not filled in (${ and }` + template,
		"#{session.id}":               `a template that was not filled in (#{ and }` + template,
		"@{triggerBody()?['id']}":     `a template that was not filled in (@{ and }` + template,
		"<%= session.id %>":           `a template that was not filled in (<% and %>` + template,
		"{% if id %}{% endif %}":      `a template that was not filled in ({% and %}` + template,
		"%!s(<nil>)":                  `a template that was not filled in (%! and )` + template,
		"input.sessionId":             `the name of a value and not the value: send "{{input.sessionId}}"`,
		"input.execution":             `the name of a value and not the value: send "{{input.execution}}"`,
	} {
		quoted, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		for field, body := range map[string]string{
			"dialogId must be a non-empty string of at most 512 bytes": `{"dialogId":` + string(quoted) +
				`,"nodeId":"n","sequence":1}`,
			"nodeId must be a non-empty string of at most 512 bytes": `{"dialogId":"d","nodeId":` + string(quoted) +
				`,"sequence":1}`,
			`sequence must be a 64-bit integer (7 or "7")`: `{"dialogId":"d","nodeId":"n","sequence":` + string(quoted) + `}`,
		} {
			var p payload
			if got, want := reading(&p, p.decode([]byte(body))), field+", but is "+found; got != want {
				t.Errorf("%s\n got %s\nwant %s", body, got, want)
			}
		}
	}
}

// A sessionId is any text that a channel or a caller chooses, and a nodeId is a literal of the flow's author.
func TestWhatMayBeMeantIsAnIdentity(t *testing.T) {
	for _, id := range []string{
		"b3f1c2d4-5a6e-4f70-8192-a3b4c5d6e7f8", "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}", "session-7e2a9c10-3b4d",
		"5f8d04b3a7c1e2d9f0a1b2c3",
		"<CAF+d2@mail.example.com>", "+49 170 1234567", "whatsapp:+491701234567", "user@example.com",
		"sip:anna@example.com;transport=tcp",
		"Null", "nan", "Nan", "none", "nil", "Undefined", "on-undefined", "handle-null", "null-check", "undefined42",
		"nullable", "NaN7",
		"input.name", "input.text", "input", "input.sessionId2", "my-input.sessionId", "check {seats}", "book-flight (50%)",
		"100%", "%20", "%S",
		"a{{b", "a}}b{{", "$5", "${", "}", "#1", "@anna", "50%!", "<b>", "[object", "object Object", "true", "0", "-", "_",
		".", "-_:", "節点", "\x00",
	} {
		quoted, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		var p payload
		body := `{"dialogId":` + string(quoted) + `,"nodeId":` + string(quoted) + `,"sequence":1}`
		if errs := p.decode([]byte(body)); errs != nil || string(p.dialogID) != id || string(p.nodeID) != id {
			t.Errorf("%s: %s", body, reading(&p, errs))
		}
	}
}

func TestAPlaceholderTellsNoValue(t *testing.T) {
	for _, id := range []string{"[object secret]", "{{secret}}", "secret ${secret} secret", "%!s(secret)"} {
		if found := placeholder([]byte(id)); found == "" || strings.Contains(found, "secret") {
			t.Errorf("%s: %s", id, found)
		}
	}
}
