package handler

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// scanAll returns the one value in text, and the problem if there is one.
func scanAll(text []byte) (value []byte, problem string) {
	s := scanner{text: text}
	value = s.value()
	s.end()
	return value, s.problem
}

func TestScanSaysWhereTextCeasesToBeJSON(t *testing.T) {
	for _, c := range []struct{ name, text, problem string }{
		{"an empty text lacks a value", "", "0: a value is missing"},
		{"white space alone lacks a value", " \t\r\n", "4: a value is missing"},
		{"other white space is none", "\f1", "0: a value is missing"},
		{"a NUL is no end", "1\x00", "1: more follows behind its end"},
		{"a NUL is no value", "[\x00]", "1: a value is missing"},
		{"a byte order mark is no white space", "\ufeff{}", "0: a value is missing"},
		{"a second value is too many", "{} {}", "3: more follows behind its end"},
		{"a closing bracket too many", "[]]", "2: more follows behind its end"},

		{"an object that does not end", "{", "1: a key in quotes is missing"},
		{"an object that ends behind a value", `{"a":1`, "6: a comma or a closing bracket is missing"},
		{"an object closed as an array", `{"a":1]`, "6: a comma or a closing bracket is missing"},
		{"an empty object closed as an array", `{]`, "1: a key in quotes is missing"},
		{"an array closed as an object", `[1}`, "2: a comma or a closing bracket is missing"},
		{"an outer array closed as its inner object", `[{}}`, "3: a comma or a closing bracket is missing"},
		{"a comma before the first member", `{,"a":1}`, "1: a key in quotes is missing"},
		{"a comma behind the last member", `{"a":1,}`, "7: a key in quotes is missing"},
		{"a comma before the first item", `[,1]`, "1: a value is missing"},
		{"a comma behind the last item", `[1,]`, "3: a value is missing"},
		{"two commas", `[1,,2]`, "3: a value is missing"},
		{"no comma", `[1 2]`, "3: a comma or a closing bracket is missing"},
		{"no comma behind an inner array", `[[]1]`, "3: a comma or a closing bracket is missing"},
		{"a key without quotes", `{a:1}`, "1: a key in quotes is missing"},
		{"a number as key", `{1:1}`, "1: a key in quotes is missing"},
		{"a key alone", `{"a"}`, "4: a colon is missing"},
		{"a key that does not end", `{"a`, "3: a closing quote is missing"},
		{"a key without a value", `{"a":}`, "5: a value is missing"},

		{"a literal cut short", "tru", "3: a literal is misspelt"},
		{"a literal in capitals", "nulL", "3: a literal is misspelt"},
		{"a literal with more behind it", "falsey", "5: more follows behind its end"},
		{"a word of JavaScript", "NaN", "0: a value is missing"},

		{"a minus alone", "-", "1: a digit is missing"},
		{"two minuses", "--1", "1: a digit is missing"},
		{"a plus", "+1", "0: a value is missing"},
		{"a leading zero", "01", "1: more follows behind its end"},
		{"a leading zero behind a minus", "-01", "2: more follows behind its end"},
		{"a point first", ".5", "0: a value is missing"},
		{"a point last", "5.", "2: a digit is missing"},
		{"an exponent without digits", "5e", "2: a digit is missing"},
		{"an exponent with a sign alone", "5E+", "3: a digit is missing"},
		{"an exponent with two signs", "5e+-1", "3: a digit is missing"},
		{"an exponent with a point", "5e1.0", "3: more follows behind its end"},
		{"a hexadecimal number", "0x1", "1: more follows behind its end"},

		{"a string that does not end", `"abc`, "4: a closing quote is missing"},
		{"a string that ends in a backslash", `"abc\`, "5: a backslash escapes what needs no escape"},
		{"a string whose last quote is escaped", `"abc\"`, "6: a closing quote is missing"},
		{"a line break in a string", "\"a\nb\"", "2: a control character is not escaped"},
		{"the last control character in a string", "\"\x1f\"", "1: a control character is not escaped"},
		{"a NUL in a string", "\"\x00\"", "1: a control character is not escaped"},
		{"an escape that JSON has not", `"\x41"`, "2: a backslash escapes what needs no escape"},
		{"an escaped NUL byte", "\"\\\x00\"", "2: a backslash escapes what needs no escape"},
		{"an escape of three digits", `"\u123"`, "6: a hex digit is missing"},
		{"an escape with another letter", `"\u12g4"`, "5: a hex digit is missing"},
		{"an escape with a capital U", `"\U0041"`, "2: a backslash escapes what needs no escape"},
		{"single quotes", `'a'`, "0: a value is missing"},
		{"a comment", `/**/1`, "0: a value is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if json.Valid([]byte(c.text)) {
				t.Fatalf("encoding/json takes %q", c.text)
			}
			if _, problem := scanAll([]byte(c.text)); problem != "unreadable at byte offset "+c.problem {
				t.Errorf("%q: got %q, want the end %q", c.text, problem, c.problem)
			}
		})
	}
}

func TestScanPassesAllThatIsJSON(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"literals", `[true,false,null]`},
		{"numbers", `[0,-0,10,-1.50,0.0,1e5,1E+05,2.5e-007]`},
		{"escapes", `"\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00"`},
		{"half a surrogate pair", `"\ud800"`},
		{"a delete character", "\"\x7f\""},
		{"what is no UTF-8, which the decoder refuses", "\"\xff\""},
		{"empty containers", `[[],{},[{}],{"":[]}]`},
		{"nested containers", `{"a":[1,{"b":[[2],3]},4],"c":{"d":{}}}`},
		{"brackets in strings", `["]","}",{"{":"["}]`},
		{"white space wherever it may be", " \t\r\n{ \"a\" : [ 1 , { } , [ ] ] , \"b\" : 2 } \n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			value, problem := scanAll([]byte(c.text))
			if problem != "" {
				t.Errorf("%q: %s", c.text, problem)
			}
			if want := strings.Trim(c.text, " \t\r\n"); string(value) != want {
				t.Errorf("got the value %q, want %q", value, want)
			}
		})
	}
}

func TestScanBoundsTheDepth(t *testing.T) {
	nested := func(depth int) []byte {
		return []byte(strings.Repeat(`[{"a":`, depth/2) + strings.Repeat("[", depth%2) + "0" +
			strings.Repeat("]", depth%2) + strings.Repeat("}]", depth/2))
	}
	for _, c := range []struct {
		name    string
		text    []byte
		problem string
	}{
		{"one level below it", nested(maxDepth - 1), ""},
		{"as deep as it may be", nested(maxDepth), ""},
		{"one level more", nested(maxDepth + 1), "unreadable at byte offset 3000: it nests deeper than 1000 levels"},
		{"a flood of brackets", bytes.Repeat([]byte("["), 1<<20), "unreadable at byte offset 1000: it nests deeper than " +
			"1000 levels"},
		{"many containers side by side", []byte("[" + strings.Repeat("[],", 2*maxDepth) + "{}]"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, problem := scanAll(c.text); problem != c.problem {
				t.Errorf("got %q, want %q", problem, c.problem)
			}
		})
	}
}

// depthOf returns the largest number of containers that are open at once in valid JSON.
func depthOf(text []byte) (deepest int) {
	tokens, depth := json.NewDecoder(bytes.NewReader(text)), 0
	tokens.UseNumber()
	for {
		token, err := tokens.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `{}`, `[]`, `""`, `0`, `-0.5e+07`, `true`, `false`, `null`, `nul`, `01`, `1.`, `"\u00e9\ud800"`, `"\x"`,
		`{"a":[1,{"b":[[2],3]},4],"c":{"d":{}}}`, ` { "a" : [ 1 , { } ] } `, `{"a":1,}`, `[1}`, `[[]]]`, "\"\x00\"",
		"\"\xff\"",
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), strings.Repeat(`{"":`, maxDepth+1) + "1" +
			strings.Repeat("}", maxDepth+1),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		value, problem := scanAll(text)
		if valid := json.Valid(text) && depthOf(text) <= maxDepth; valid != (problem == "") {
			t.Fatalf("%q: encoding/json says valid: %t, we say %q", text, valid, problem)
		}
		if want := bytes.Trim(text, " \t\r\n"); problem == "" && !bytes.Equal(value, want) {
			t.Errorf("got the value %q, want %q", value, want)
		}
	})
}
