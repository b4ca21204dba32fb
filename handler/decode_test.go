package handler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// realistic is a body as a flow sends it.
const realistic = `{"dialogId":"b3f1c2d4-5a6e-4f70-8192-a3b4c5d6e7f8",` +
	`"nodeId":"7e2a9c10-3b4d-4e5f-9a6b-c7d8e9f0a1b2",` +
	`"sequence":42,"variables":{"customer":{"name":"Zoë Müller","tier":"gold"},"order":{"id":"A-1093","items":3,` +
	`"total":129.90},"consent":true,"note":null}}`

// reading returns the contents of a payload, or the error messages, one a line.
func reading(p *payload, errs []FieldError) string {
	if len(errs) == 0 {
		return fmt.Sprintf("%q %q %d %s", p.dialogID, p.nodeID, p.sequence, p.variables)
	}
	var messages []string
	for _, e := range errs {
		if !strings.HasPrefix(e.Message, e.Field+" must be ") {
			return fmt.Sprintf("the message does not begin with the field: %+v", e)
		}
		messages = append(messages, e.Message)
	}
	return strings.Join(messages, "\n")
}

type decodeCase struct{ name, body, want string }

func checkDecode(t *testing.T, cases []decodeCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var p payload
			if got := reading(&p, p.decode([]byte(c.body))); got != c.want {
				t.Errorf("%.200s\n got %s\nwant %s", c.body, got, c.want)
			}
		})
	}
}

func TestDecodeReadsAPayload(t *testing.T) {
	checkDecode(t, []decodeCase{
		{"as a flow sends it", realistic,
			`"b3f1c2d4-5a6e-4f70-8192-a3b4c5d6e7f8" "7e2a9c10-3b4d-4e5f-9a6b-c7d8e9f0a1b2" 42 ` +
				`{"customer":{"name":"Zoë Müller","tier":"gold"},"order":{"id":"A-1093","items":3,"total":129.90},"consent":true,` +
				`"note":null}`},
		{"with white space around everything", " {\n\t\"sequence\" : 1 , \"nodeId\" : \"n\" , \"dialogId\" : \"d\" }\r\n",
			`"d" "n" 1 {}`},
		{"with fields of the logic's own, of any type",
			`{"a":[{"dialogId":1}],"dialogId":"d","b":null,"nodeId":"n","c":0.5,"sequence":1,"":""}`, `"d" "n" 1 {}`},
		{"with keys that differ in case only",
			`{"DialogId":5,"dialogId":"d","NODEID":5,"nodeId":"n","sequence":1,"Sequence":5}`, `"d" "n" 1 {}`},
		{"with escaped keys",
			`{"dialog\u0049d":"d","\u006e\u006F\u0064\u0065\u0049\u0064":"n","sequenc\u0065":1,"v\u0061riables":{"a":1}}`,
			`"d" "n" 1 {"a":1}`},
		{"with half a surrogate pair in other fields and keys",
			`{"dialogId":"d","nodeId":"n","sequence":1,"text":"\ud83d","\udc00":1,"variables":{"text":"\ud83d"}}`,
			`"d" "n" 1 {"text":"\ud83d"}`},
	})
}

func TestDecodeReadsIDs(t *testing.T) {
	const wanted = "dialogId must be a non-empty string of at most 512 bytes, but is "
	long := strings.Repeat("x", maxID)
	var cases []decodeCase
	for _, c := range []struct{ name, json, want string }{
		{"plain", `"d"`, `"d"`},
		{"with characters beyond ASCII", `"Zoë😀"`, `"Zoë😀"`},
		{"with every escape", `"\"\\\/\b\f\n\r\t\u00e9\u00E9"`, `"\"\\/\b\f\n\r\téé"`},
		{"with an escaped surrogate pair", `"a\ud83d\uDE00b"`, `"a😀b"`},
		{"with the last character of all", `"\udbff\udfff"`, `"\U0010ffff"`},
		{"with a NUL", `"\u0000"`, `"\x00"`},
		{"with the replacement character, which may be meant", `"\ufffd�"`, `"��"`},
		{"with text that looks like half a surrogate pair", `"\\ud800"`, `"\\ud800"`},
		{"of 512 bytes", `"` + long + `"`, `"` + long + `"`},
		{"of 512 bytes, all escaped", `"` + strings.Repeat(`\u0078`, maxID) + `"`, `"` + long + `"`},
		{"of 512 bytes, the last character a pair", `"` + long[4:] + `\ud83d\ude00"`, `"` + long[4:] + `😀"`},

		{"of 513 bytes", `"` + long + `x"`, wanted + "longer"},
		{"of 513 bytes, the last escaped", `"` + long + `\u0078"`, wanted + "longer"},
		{"of 513 bytes in 512 characters", `"` + long[1:] + `\u00e9"`, wanted + "longer"},
		{"of a megabyte of escapes", `"` + strings.Repeat(`\n`, 1<<19) + `"`, wanted + "longer"},
		{"empty", `""`, wanted + "empty"},
		{"of white space alone", "\" \u00a0\\n\"", wanted + "white space alone"},
		{"null", `null`, wanted + "null"},
		{"a number", `-7`, wanted + "a number"},
		{"true", `true`, wanted + "a boolean"},
		{"false", `false`, wanted + "a boolean"},
		{"an array", `["d"]`, wanted + "an array"},
		{"an object", `{"a":"d"}`, wanted + "an object"},
		{"with the first half of a pair alone", `"\ud83d"`, wanted + `cut within a character (a lone surrogate like \ud800)`},
		{"with the second half of a pair alone", `"\ude00"`,
			wanted + `cut within a character (a lone surrogate like \ud800)`},
		{"with two first halves", `"\ud83d\ud83d\ude00"`, wanted + `cut within a character (a lone surrogate like \ud800)`},
		{"with a pair in the wrong order", `"\ude00\ud83d"`,
			wanted + `cut within a character (a lone surrogate like \ud800)`},
		{"with something between a pair's halves", `"\ud83d \ude00"`,
			wanted + `cut within a character (a lone surrogate like \ud800)`},
		{"with half a pair and another escape", `"\ud83d\n"`,
			wanted + `cut within a character (a lone surrogate like \ud800)`},
		{"with half a pair and an escaped character", `"\ud83d\u0041"`,
			wanted + `cut within a character (a lone surrogate like \ud800)`},
	} {
		want := c.want
		if !strings.HasPrefix(want, wanted) {
			want += ` "n" 1 {}`
		}
		cases = append(cases, decodeCase{c.name, `{"dialogId":` + c.json + `,"nodeId":"n","sequence":1}`, want})
	}
	checkDecode(t, cases)
	checkDecode(t, []decodeCase{
		{"both as long as they may be, all escaped", `{"dialogId":"` + strings.Repeat(`\u0064`, maxID) + `","nodeId":"` +
			strings.Repeat(`\u006e`, maxID) + `","sequence":1}`,
			`"` + strings.Repeat("d", maxID) + `" "` + strings.Repeat("n", maxID) + `" 1 {}`},
		{"all escaped, the sequence too", `{"dialogId":"\u0064","nodeId":"\u006e","sequence":"\u0031"}`, `"d" "n" 1 {}`},
	})
}

func TestDecodeReadsSequencesExactly(t *testing.T) {
	const (
		wanted   = `sequence must be a 64-bit integer (7 or "7"), but is `
		fraction = wanted + "a number with a fraction"
		beyond   = wanted + "a number out of range"
		notPlain = wanted + "a string that is not a plain decimal"
	)
	zeros := strings.Repeat("0", 10_000)
	var cases []decodeCase
	for _, c := range []struct{ name, json, want string }{
		{"an integer", `7`, `7`},
		{"a negative one", `-7`, `-7`},
		{"one with zeros at its end", `1200`, `1200`},
		{"one with a fraction of zeros", `7.0`, `7`},
		{"one with an exponent", `7e0`, `7`},
		{"one with a capital exponent and a sign", `7E+2`, `700`},
		{"a negative exponent that takes zeros away", `70e-1`, `7`},
		{"a fraction that its exponent makes whole", `-1.25e2`, `-125`},
		{"a fraction below one that its exponent makes whole", `0.0070e3`, `7`},
		{"zeros on both sides", `100.00100e3`, `100001`},
		{"zero", `0`, `0`},
		{"minus zero", `-0`, `0`},
		{"minus zero with a fraction", `-0.0`, `0`},
		{"zero with an exponent never expanded", `0e999999999`, `0`},
		{"zero with an exponent beyond every integer", `0e-999999999999999999999`, `0`},
		{"the largest", `9223372036854775807`, `9223372036854775807`},
		{"the smallest", `-9223372036854775808`, `-9223372036854775808`},
		{"the largest, with an exponent", `9.223372036854775807e18`, `9223372036854775807`},
		{"the smallest, with an exponent", `-92233720368547758080e-1`, `-9223372036854775808`},
		{"one that a float would round", `9007199254740993`, `9007199254740993`},
		{"the largest power of ten", `1e18`, `1000000000000000000`},
		{"ten thousand zeros taken away", `7` + zeros + `e-10000`, `7`},
		{"ten thousand zeros made good", `0.` + zeros + `7e10001`, `7`},
		{"ten thousand zeros in the fraction", `7.` + zeros, `7`},
		{"ten thousand zeros in the exponent", `7e` + zeros + `1`, `70`},

		{"a half", `7.5`, fraction},
		{"a fraction that its exponent leaves", `1.25e1`, fraction},
		{"a fraction by its exponent", `7e-1`, fraction},
		{"a fraction behind ten thousand zeros", `7.` + zeros + `1`, fraction},
		{"next to nothing", `1e-400`, fraction},
		{"a fraction with an exponent below every integer", `0.01e-9223372036854775808`, fraction},
		{"less than any float", `-1e-999999999999999999999`, fraction},
		{"one above the largest", `9223372036854775808`, beyond},
		{"one below the smallest", `-9223372036854775809`, beyond},
		{"ten times the largest", `9.223372036854775807e19`, beyond},
		{"a power of ten too large", `1e19`, beyond},
		{"one of 20 digits", `18446744073709551617`, beyond},
		{"more than any float", `1e400`, beyond},
		{"an exponent beyond every integer", `-1e999999999999999999999`, beyond},
		{"a zero and an exponent beyond every integer", `10e9223372036854775807`, beyond},
		{"ten thousand zeros", `7` + zeros, beyond},

		{"a string", `"7"`, `7`},
		{"a string of zero", `"0"`, `0`},
		{"a negative string", `"-7"`, `-7`},
		{"a string of the largest", `"9223372036854775807"`, `9223372036854775807`},
		{"a string of the smallest", `"-9223372036854775808"`, `-9223372036854775808`},
		{"a string with an escape", `"\u0034\u0032"`, `42`},

		{"a string of one above the largest", `"9223372036854775808"`, beyond},
		{"a string of one below the smallest", `"-9223372036854775809"`, beyond},
		{"an empty string", `""`, notPlain},
		{"a string with leading zeros", `"007"`, notPlain},
		{"a string with ten thousand leading zeros", `"` + zeros + `7"`, notPlain},
		{"a string with ten thousand escaped zeros", `"` + strings.Repeat(`\u0030`, 10_000) + `7"`, notPlain},
		{"a string with a leading space", `" 7"`, notPlain},
		{"a string with a space behind", `"7 "`, notPlain},
		{"a string with a line break behind", `"7\n"`, notPlain},
		{"a string with a plus", `"+7"`, notPlain},
		{"a string of minus zero", `"-0"`, notPlain},
		{"a string of a minus", `"-"`, notPlain},
		{"a string with a fraction", `"7.0"`, notPlain},
		{"a string with an exponent", `"7e0"`, notPlain},
		{"a string with an underscore", `"1_000"`, notPlain},
		{"a string in hexadecimal", `"0x7"`, notPlain},
		{"a string of other digits", `"٧"`, notPlain},
		{"a string with half a surrogate pair", `"7\ud800"`, notPlain},
		{"true", `true`, wanted + "a boolean"},
		{"null", `null`, wanted + "null"},
		{"an array", `[7]`, wanted + "an array"},
		{"an object", `{"a":7}`, wanted + "an object"},
	} {
		want := c.want
		if !strings.HasPrefix(want, wanted) {
			want = `"d" "n" ` + want + ` {}`
		}
		cases = append(cases, decodeCase{c.name, `{"dialogId":"d","nodeId":"n","sequence":` + c.json + `}`, want})
	}
	checkDecode(t, cases)
}

func TestDecodeReadsVariables(t *testing.T) {
	var cases []decodeCase
	for _, c := range []struct{ name, json, want string }{
		{"an object", `{"a":{"b":[1,"}"]}}`, `"d" "n" 1 {"a":{"b":[1,"}"]}}`},
		{"an object as it stands", `{ "a" : 1e2, "\u0061":"\ud800" }`, `"d" "n" 1 { "a" : 1e2, "\u0061":"\ud800" }`},
		{"null", `null`, `"d" "n" 1 {}`},
		{"twice: the last one", `{"a":1},"variables":{"a":2}`, `"d" "n" 1 {"a":2}`},
		{"twice, the last one null", `{"a":1},"variables":null`, `"d" "n" 1 {}`},
		{"twice, the first one wrong", `5,"v\u0061riables":{"a":2}`, `"d" "n" 1 {"a":2}`},
		{"twice, the last one wrong", `{"a":1},"variables":5`, "variables must be an object, but is a number"},
		{"an array", `[]`, "variables must be an object, but is an array"},
		{"a string", `"{}"`, "variables must be an object, but is a string"},
		{"a boolean", `false`, "variables must be an object, but is a boolean"},
	} {
		cases = append(cases, decodeCase{c.name, `{"dialogId":"d","nodeId":"n","sequence":1,"variables":` + c.json + ` }`,
			c.want})
	}
	checkDecode(t, cases)
}

func TestDecodeNamesEveryFieldThatIsWrongInOrder(t *testing.T) {
	const (
		dialogID = "dialogId must be a non-empty string of at most 512 bytes, but is "
		nodeID   = "nodeId must be a non-empty string of at most 512 bytes, but is "
		sequence = `sequence must be a 64-bit integer (7 or "7"), but is `
	)
	checkDecode(t, []decodeCase{
		{"all missing", `{}`, dialogID + "missing\n" + nodeID + "missing\n" + sequence + "missing"},
		{"all wrong, sent backwards", `{"variables":1,"sequence":null,"nodeId":[],"dialogId":""}`,
			dialogID + "empty\n" + nodeID + "an array\n" + sequence + "null\nvariables must be an object, but is a number"},
		{"the identity twice, even if alike",
			`{"dialogId":"d","nodeId":"n","sequence":1,"dialogId":"d","nodeId":"n","sequence":1}`,
			dialogID + "given more than once\n" + nodeID + "given more than once\n" + sequence + "given more than once"},
		{"a key twice, once escaped", `{"dialogId":"d","nodeId":"n","sequence":1,"dialog\u0049d":"e"}`, dialogID +
			"given more than once"},
		{"a key three times, with null", `{"dialogId":"d","nodeId":null,"nodeId":"n","nodeId":null,"sequence":1}`,
			nodeID + "given more than once"},
		{"the identity inside another field only", `{"variables":{"dialogId":"d","nodeId":"n","sequence":1}}`,
			dialogID + "missing\n" + nodeID + "missing\n" + sequence + "missing"},
	})
}

func TestDecodeRefusesABodyThatIsNoObject(t *testing.T) {
	const valid = `{"dialogId":"d","nodeId":"n","sequence":1}`
	const wanted = "body must be one JSON object in UTF-8, but is "
	const wide = "in UTF-16 or UTF-32 (RFC 8259, section 8.1)"
	checkDecode(t, []decodeCase{
		{"empty", ``, wanted + "unreadable at byte offset 0: a value is missing"},
		{"a form", `dialogId=d&nodeId=n`, wanted + "unreadable at byte offset 0: a value is missing"},
		{"an array", ` [` + valid + `]`, wanted + "an array"},
		{"a string", `"` + `d"`, wanted + "a string"},
		{"a number", `7`, wanted + "a number"},
		{"null", "\nnull", wanted + "null"},
		{"a boolean", `true`, wanted + "a boolean"},
		{"two objects", valid + valid, wanted + "unreadable at byte offset 42: more follows behind its end"},
		{"cut short", valid[:len(valid)-1], wanted + "unreadable at byte offset 41: a comma or a closing bracket is missing"},
		{"cut short in a key", `{"dialogId`, wanted + "unreadable at byte offset 10: a closing quote is missing"},
		{"cut short behind a brace", `{`, wanted + "unreadable at byte offset 1: a key in quotes is missing"},
		{"broken behind wrong fields, which are not named then", `{"dialogId":5,"sequence":01}`,
			wanted + "unreadable at byte offset 26: a comma or a closing bracket is missing"},
		{"too deep", `{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`,
			wanted + "unreadable at byte offset 1004: it nests deeper than 1000 levels"},
		{"in Latin-1", "{\"dialogId\":\"d\",\"nodeId\":\"n\",\"sequence\":1,\"name\":\"Zo\xeb\"}",
			wanted + "not valid UTF-8"},
		{"with a surrogate in UTF-8", "{\"dialogId\":\"\xed\xa0\x80\",\"nodeId\":\"n\",\"sequence\":1}",
			wanted + "not valid UTF-8"},
		{"in UTF-16 with a byte order mark", "\xff\xfe{\x00}\x00", wanted + wide},
		{"in UTF-16 of the other order", "\xfe\xff\x00{\x00}", wanted + wide},
		{"in UTF-16 without a byte order mark", "{\x00}\x00", wanted + wide},
		{"in UTF-32", "\x00\x00\x00{\x00\x00\x00}", wanted + wide},
		{"with an overlong NUL", "{\"dialogId\":\"\xc0\x80\",\"nodeId\":\"n\",\"sequence\":1}", wanted + "not valid UTF-8"},
	})
}

func TestDecodeTellsNoValues(t *testing.T) {
	for _, body := range []string{
		`{"dialogId":{"secret":1},"nodeId":["secret"],"sequence":"secret","variables":"secret"}`,
		`{"dialogId":"` + strings.Repeat("secret", 100) + `","nodeId":"secret\ud800","sequence":"secret","secret":1}`,
		`{"dialogId":"secret","dialogId":"secret","secret":tru}`,
		`"secret"`, `{"secret`, `{"secret":secret}`, `secret`, "secret\xff",
	} {
		var p payload
		errs := p.decode([]byte(body))
		if len(errs) == 0 {
			t.Errorf("%s: no error", body)
		}
		if told := reading(&p, errs); strings.Contains(told, "secret") {
			t.Errorf("%s: %s", body, told)
		}
	}
}

func TestDecodeKeepsNothingOfThePayloadBefore(t *testing.T) {
	var p payload
	p.decode([]byte(`{"dialogId":"\u0064\u0065","nodeId":"\u006e\u006f","sequence":"\u0031\u0032","variables":{"a":1}}`))
	errs := p.decode([]byte(`{"dialogId":"\u0078","nodeId":"y","sequence":0}`))
	if got, want := reading(&p, errs), `"x" "y" 0 {}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDecodeBoundsItsScratch(t *testing.T) {
	escapes := strings.Repeat(`\n`, 1<<16)
	body := `{"dialogId":"` + escapes + `","nodeId":"` + escapes + `","sequence":"` + escapes + `","` + escapes + `":1` +
		strings.Repeat(`,"\n":1`, 1<<16) + `}`
	var p payload
	p.decode([]byte(body))
	if limit := 4 * (maxID + utf8.UTFMax); cap(p.scratch) > limit {
		t.Errorf("scratch has grown to %d bytes, more than %d", cap(p.scratch), limit)
	}
}

func TestAHugeExponentCostsNoZeros(t *testing.T) {
	for _, number := range []string{"1e400", "-1e999999999", "1e-999999999"} {
		if n := testing.AllocsPerRun(10, func() { _, _ = parseNumber([]byte(number)) }); n != 0 {
			t.Errorf("%s costs %v allocations", number, n)
		}
	}
}

// escapedPayload is a payload that needs all of scratch.
const escapedPayload = `{"dialog\u0049d":"\ud83d\ude00","nodeId":"a\/b","sequence":"\u0034\u0032","\n":1,` +
	`"variables":{"a":"\n"}}`

func TestDecodeAllocatesNothing(t *testing.T) {
	for name, body := range map[string]string{"as a flow sends it": realistic, "with escapes": escapedPayload} {
		t.Run(name, func(t *testing.T) {
			var p payload
			text := []byte(body)
			allocs := testing.AllocsPerRun(100, func() {
				if errs := p.decode(text); errs != nil {
					t.Fatal(errs)
				}
			})
			if allocs != 0 {
				t.Errorf("%v allocations", allocs)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct{ name, body string }{{"flow", realistic}, {"escapes", escapedPayload}} {
		b.Run(c.name, func(b *testing.B) {
			var p payload
			body := []byte(c.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if errs := p.decode(body); errs != nil {
					b.Fatal(errs)
				}
			}
		})
	}
}

// reference reads a body with encoding/json and math/big: slowly, and in another way than decode. It returns what
// reading returns for a valid payload; for any other it returns the names of the wrong fields.
func reference(body []byte) (want string, wrong []string) {
	if !utf8.Valid(body) || bytes.HasPrefix(body, []byte{0}) || !json.Valid(body) || depthOf(body) > maxDepth {
		return "", []string{"body"}
	}
	tokens := json.NewDecoder(bytes.NewReader(body))
	if first, _ := tokens.Token(); first != json.Delim('{') {
		return "", []string{"body"}
	}
	values := map[string][]json.RawMessage{}
	for tokens.More() {
		key, _ := tokens.Token()
		var value json.RawMessage
		if tokens.Decode(&value) != nil {
			panic("valid JSON without a value")
		}
		values[key.(string)] = append(values[key.(string)], value)
	}
	once := func(field string) (value any, raw json.RawMessage) {
		if len(values[field]) != 1 {
			return nil, nil
		}
		raw = values[field][0]
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		_ = decoder.Decode(&value)
		return value, raw
	}
	var ids [2]string
	for i, field := range []string{"dialogId", "nodeId"} {
		value, raw := once(field)
		id, _ := value.(string)
		if strings.TrimSpace(id) == "" || len(id) > maxID || cutsACharacter(raw) || left.MatchString(id) {
			wrong = append(wrong, field)
		}
		ids[i] = id
	}
	value, _ := once("sequence")
	sequence := exactInteger(value)
	if sequence == nil {
		wrong = append(wrong, "sequence")
	}
	variables := "{}"
	if all := values["variables"]; len(all) > 0 {
		switch last := string(all[len(all)-1]); {
		case last[0] == '{':
			variables = last
		case last != "null":
			wrong = append(wrong, "variables")
		}
	}
	return fmt.Sprintf("%q %q %v %s", ids[0], ids[1], sequence, variables), wrong
}

var (
	character = regexp.MustCompile(`(?s)\\u[0-9a-fA-F]{4}|\\.|[^\\]`)
	canonical = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
)

// left matches a placeholder. It is a regular expression, so that it does not share its mistakes with the function
// placeholder.
var left = regexp.MustCompile(`(?s)\{\{.*\}\}|[$#@]\{.*\}|<%.*%>|\{%.*%\}|%7B%7B.*%7D%7D|%7b%7b.*%7d%7d|%!.*\)|` +
	`^[\pZ\s\x{85}\v]*([-_:;/|.,#+ ]*(undefined|null|NULL|NaN|None)([-_:;/|.,#+ ]*(undefined|null|NULL|NaN|` +
	`None))*[-_:;/|.,#+ ]*|` +
	`<nil>|<null>|<no value>|\(null\)|%[sdv]|\[object [^\]]*\]|input\.(sessionId|inputId|traceId|userId|` +
	`execution))[\pZ\s\x{85}\v]*$`)

// cutsACharacter reports whether a JSON string contains a lone surrogate, which is the only thing in it that a
// conversion to UTF-16 replaces.
func cutsACharacter(raw []byte) bool {
	var units []uint16
	for _, c := range character.FindAllString(string(raw), -1) {
		var unit uint16
		if _, _ = fmt.Sscanf(c, `\u%4x`, &unit); unit == utf8.RuneError {
			unit = 0
		}
		units = append(units, unit)
	}
	return slices.Contains(utf16.Decode(units), utf8.RuneError)
}

// exactInteger returns the 64-bit integer that a decoded value stands for, or nil if it is not one.
func exactInteger(value any) *big.Int {
	n := new(big.Rat)
	switch text := value.(type) {
	case string:
		if !canonical.MatchString(text) {
			return nil
		}
		n.SetString(text)
	case json.Number:
		mantissa, power, _ := strings.Cut(strings.ToLower(text.String()), "e")
		n.SetString(mantissa)
		if power == "" || n.Sign() == 0 {
			break
		}
		exponent, _ := new(big.Int).SetString(power, 10)
		if exponent.CmpAbs(big.NewInt(int64(len(mantissa)+20))) > 0 {
			return nil // no mantissa of this length makes it an integer in range
		}
		scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), new(big.Int).Abs(exponent), nil))
		if exponent.Sign() < 0 {
			scale.Inv(scale)
		}
		n.Mul(n, scale)
	default:
		return nil
	}
	if !n.IsInt() || !n.Num().IsInt64() {
		return nil
	}
	return n.Num()
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		realistic, escapedPayload, ``, `{}`, `[]`, `null`, `{"dialogId":"d","nodeId":"n","sequence":1}x`,
		`{"DialogId":5,"dialogId":"d","nodeId":"n","sequence":70e-1,"variables":null}`,
		`{"dialogId":"d","nodeId":"n","sequence":1,"dialog\u0049d":"d"}`,
		`{"dialogId":"\ud800","nodeId":"\\ud800\ufffd","sequence":"-0","variables":[]}`,
		`{"dialogId":"\ud83d\ude00","nodeId":"\ud83d\\ude00","sequence":"007"}`,
		`{"variables":1,"variables":{"a":"\ud800"},"sequence":-9.223372036854775808e18,"nodeId":"n","dialogId":"d"}`,
		`{"dialogId":"{{input.sessionId}}","nodeId":"undefined-null","sequence":"NaN"}`,
		`{"dialogId":"input.sessionId","nodeId":"[object Object]","sequence":1}`,
		`{"dialogId":"undefinednull","nodeId":"undefinedNaN-","sequence":"nullx"}`,
		`{"dialogId":"d","nodeId":"n","sequence":0.00e99999999999999999999}`,
		`{"dialogId":"d","nodeId":"n","sequence":-12.3400E+0002}`,
		`{"dialogId":"d","nodeId":"n","sequence":1e400}`, `{"dialogId":"d","nodeId":"n","sequence":1e-400}`,
		"{\"dialogId\":\"\xff\",\"nodeId\":\"n\",\"sequence\":1}",
		"{\"dialogId\":\"d\x00\",\"nodeId\":\"\u007f\",\"sequence\":1}",
		`{"dialogId":"` + strings.Repeat("x", maxID) + `","nodeId":"` + strings.Repeat(`\u0078`, maxID+1) + `","sequence":1}`,
		`{"dialogId":"d","nodeId":"n","sequence":1,"a":` + strings.Repeat("[", maxDepth) +
			strings.Repeat("]", maxDepth) + `}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want, wantWrong := reference(body)
		var p payload
		p.decode([]byte(escapedPayload)) // a pooled payload has seen others
		before := bytes.Clone(body)
		errs := p.decode(body)
		var wrong []string
		for _, e := range errs {
			wrong = append(wrong, e.Field)
		}
		if !slices.Equal(wrong, wantWrong) {
			t.Fatalf("%q: wrong is %q, want %q\n%s", body, wrong, wantWrong, reading(&p, errs))
		}
		if got := reading(&p, errs); len(errs) == 0 && got != want {
			t.Errorf("%q:\n got %s\nwant %s", body, got, want)
		}
		if !bytes.Equal(body, before) {
			t.Errorf("decode has changed the body: %q, was %q", body, before)
		}
	})
}
