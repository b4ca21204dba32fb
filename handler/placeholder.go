package handler

import (
	"bytes"
	"strings"
)

// placeholder returns the text that stands for a missing value in an id, or in a sequence that is a string; "" if the
// text may be a value. Scripts and template engines leave such texts behind. If they were executed, all customers of a
// flow would share one identity, and so one answer.
//
// It must never refuse an identity that somebody means. A sessionId may be any text that a channel chooses (a name, a
// GUID in braces, a Message-ID in angle brackets), and a nodeId is a literal. So a word counts only in the exact
// spelling that a language writes, and only if there is nothing else beside it. A template counts only with both of its
// brackets.
func placeholder(text []byte) (found string) {
	text = bytes.TrimSpace(text)
	if word := missingWord(text); word != "" {
		return `"` + word + `", which scripts write where a value is missing: was it set before the call?`
	}
	for _, brackets := range templates {
		_, inside, opened := bytes.Cut(text, []byte(brackets.open))
		if opened && bytes.Contains(inside, []byte(brackets.shut)) {
			return "a template that was not filled in (" + brackets.open + " and " + brackets.shut + " stand in it): " +
				"is the name between them right, and does the caller fill in templates in this field?"
		}
	}
	if name, ok := bytes.CutPrefix(text, []byte("input.")); ok && isInputField(name) {
		return `the name of a value and not the value: send "{{input.` + string(name) + `}}"`
	}
	return ""
}

// templates are the brackets of placeholders. In this order they belong to Cognigy, Handlebars and Jinja; JavaScript,
// Java and shells; Ruby; Power Automate; JSP, ERB and EJS; statements of Jinja and Liquid; Cognigy's again,
// percent-encoded in a URL. The last pair is what Go's fmt writes for a missing value.
var templates = [...]struct{ open, shut string }{
	{"{{", "}}"}, {"${", "}"}, {"#{", "}"}, {"@{", "}"}, {"<%", "%>"}, {"{%", "%}"},
	{"%7B%7B", "%7D%7D"}, {"%7b%7b", "%7d%7d"}, {"%!", ")"},
}

// missingWord returns the word for a missing value that text consists of, or the last one if it consists of several: a
// script that joins two missing values writes undefined-undefined, or undefinedundefined. It returns "" if anything
// else is in the text.
func missingWord(text []byte) string {
	switch string(text) {
	case "<nil>", "<null>", "<no value>", "(null)", "%s", "%d", "%v": // Go, Objective-C and C, formats of printf
		return string(text)
	}
	if bytes.HasPrefix(text, []byte("[object ")) && bytes.IndexByte(text, ']') == len(text)-1 { // JavaScript
		return "[object …]"
	}
	word := ""
	for part := range bytes.FieldsFuncSeq(text, func(c rune) bool { return strings.ContainsRune("-_:;/|.,#+ ", c) }) {
		for len(part) > 0 {
			if word = missingPrefix(part); word == "" {
				return ""
			}
			part = part[len(word):]
		}
	}
	return word
}

// missingPrefix returns the word for a missing value (in JavaScript, JSON, Python or SQL) that text begins with, or "".
func missingPrefix(text []byte) string {
	for _, word := range [...]string{"undefined", "null", "NaN", "None", "NULL"} {
		if bytes.HasPrefix(text, []byte(word)) {
			return word
		}
	}
	return ""
}

// isInputField reports whether Cognigy's input object has a field of this name that a flow uses for an identity.
func isInputField(name []byte) bool {
	switch string(name) {
	case "sessionId", "inputId", "traceId", "userId", "execution":
		return true
	}
	return false
}
