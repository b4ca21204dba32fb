package record_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/record"
)

func at(millis int64) time.Time { return time.UnixMilli(millis) }

func done(contentType, body string, headers ...record.Header) record.Record {
	return record.Record{
		State: record.Done, Attempt: 2, Token: token,
		Stored: at(1700000000123), Ends: at(1700003600123), Digest: record.Digest{0: 0xab, 15: 0x01},
		Result: record.Result{Status: 200, ContentType: contentType, Headers: headers, Body: []byte(body)},
	}
}

const (
	token = "gateway-7d9f8c6b5-x2k4z~DFJRGK2H~1a"
	past  = "1,1700000000001,1700000000090,expired,gateway-7d9f8c6b5-x2k4z;2,1700000000095,1700000000100,timeout,-"
)

// goldens are the records in testdata/form-1: the exact bytes that may be in somebody's Redis. After the first release
// they never change; other bytes are a new form.
func goldens() map[string]record.Record {
	digest := record.Digest{0: 0xab, 15: 0x01}
	began, failed := at(1700000000101), at(1700000000123)
	deadline := at(1700000060101)
	sealed := done("", "\x00sealed\n")
	sealed.State, sealed.KeyID = record.Sealed, "k1"
	again := done(record.JSON, `{"booked":true}`)
	again.Past = past
	return map[string]record.Record{
		"progress": {
			State: record.InProgress, Attempt: 1, Token: token, Deadline: deadline, Lease: time.Minute, Started: began,
			Digest: digest,
		},
		"progress-again": {
			State: record.InProgress, Attempt: 3, Token: token, Deadline: deadline, Lease: time.Minute, Started: began,
			Digest: digest, Doubt: true, Failures: 2, Past: past,
		},
		"done":       done(record.JSON, `{"booked":true,"seats":[1,2],"note":"two`+"\n"+`lines"}`),
		"done-again": again,
		"done-text":  done("text/plain; charset=utf-8; note=100%", "any bytes: \x00\xff\n"),
		"done-headers": done("text/plain", "moved", record.Header{Name: "Location", Value: "/bookings/7?a=100% b"},
			record.Header{Name: "X-Empty"}),
		"sealed":            sealed,
		"done-dash":         done("-", "a content type that is a dash"),
		"done-json-headers": done(record.JSON, "{}", record.Header{Name: "Location", Value: "/bookings/7"}),
		"failed": {
			State: record.Failed, Attempt: 3, Token: token, FailedAt: failed, Reason: "timeout", Started: began, Digest: digest,
			Doubt: true,
		},
		"failed-again": {
			State: record.Failed, Attempt: 3, Token: token, FailedAt: failed, Reason: "error", Started: began, Digest: digest,
			Failures: 2, Past: past,
		},
		"expired": {
			State: record.Failed, Attempt: 3, Token: token, FailedAt: failed, Reason: record.Expired, Started: began,
			Digest: digest,
			Doubt:  true, Failures: 3, Verdict: record.Poisoned, Past: past,
		},
		"abandoned": {State: record.Failed, Attempt: 0, Token: token, FailedAt: failed, Reason: "unanswered",
			Started: failed},
		"forgotten": {State: record.Failed, Attempt: 4, Token: record.Person, FailedAt: failed, Reason: "forgotten",
			Started: failed},
	}
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	value, err := os.ReadFile(filepath.Join("testdata", "form-1", name))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestRecordsAreTheGoldenBytes(t *testing.T) {
	for name, r := range goldens() {
		t.Run(name, func(t *testing.T) {
			value := golden(t, name)
			if got := record.Append([]byte("before"), r); string(got) != "before"+string(value) {
				t.Errorf("appended\n%q, want\n%q", got, value)
			}
			got, err := record.Parse(value)
			if len(got.Result.Body) == 0 {
				got.Result.Body = nil
			}
			if err != nil || !reflect.DeepEqual(got, r) {
				t.Errorf("parsed\n%+v, %v, want\n%+v", got, err, r)
			}
			if got.Forgotten() != (name == "forgotten") {
				t.Errorf("forgotten: %v", got.Forgotten())
			}
		})
	}
}

func TestTimesAreCutToMilliseconds(t *testing.T) {
	r := goldens()["progress"]
	r.Started = r.Started.Add(999 * time.Microsecond)
	r.Lease += 999 * time.Microsecond
	if got := record.Append(nil, r); string(got) != string(golden(t, "progress")) {
		t.Errorf("appended %q", got)
	}
}

func TestFieldsOfALaterVersionAreIgnored(t *testing.T) {
	for name, want := range goldens() {
		line, body, _ := bytes.Cut(golden(t, name), []byte{'\n'})
		got, err := record.Parse([]byte(string(line) + " more 17 é%\n" + string(body)))
		if err != nil || !bytes.Equal(record.Append(nil, got), record.Append(nil, want)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestForeignValuesAreToldApart(t *testing.T) {
	const digits = "AAAAAAAAAAAAAAAAAAAAAA"
	const own = token + " " + digits
	progress := func(fields string) string { return "P1 " + fields + " 0 0 -\n" }
	ended := func(digest, fields string) string { return "D1 1 " + token + " " + digest + " 1 1 " + fields + "\n{}" }
	failed := func(digest, fields string) string {
		return "F1 1 " + token + " " + digest + " 1 error 1 " + fields + "\n"
	}
	for name, value := range map[string]string{
		"nothing":                      "",
		"rubbish":                      "rubbish",
		"JSON":                         `{"status":"done"}`,
		"a line end alone":             "\n",
		"a state alone":                "D",
		"a head without fields":        "D1\n",
		"a head and a space":           "D1 \n",
		"an unknown state":             "X1 1 " + own + " 1 1 1 0 0 -\n",
		"a state in lower case":        "p1 1 " + own + " 1 1 1 0 0 -\n",
		"another version":              "P2 1 " + own + " 1 1 1 0 0 -\n",
		"no space behind the head":     "P1-1 " + own + " 1 1 1 0 0 -\n",
		"no line end":                  "P1 1 " + own + " 1 1 1 0 0 -",
		"too few fields":               "P1 1 " + own + " 1 1 1\n",
		"an empty field":               progress("1  " + digits + " 1 1 1"),
		"a negative number":            progress("-1 " + own + " 1 1 1"),
		"a number with a fraction":     progress("1.5 " + own + " 1 1 1"),
		"a number as Lua prints it":    progress("1 " + own + " 1.7e+12 1 1"),
		"a number beyond Lua's":        progress("1 " + own + " 90071992547409930 1 1"),
		"a number just beyond Lua's":   progress("1 " + own + " 9007199254740992 1 1"),
		"a number beyond all":          progress("1 " + own + " " + strings.Repeat("9", 100) + " 1 1"),
		"a doubt that is no flag":      "P1 1 " + own + " 1 1 1 2 0 -\n",
		"half an escaped header":       ended(digits, "200 - a/b X:%2"),
		"a short digest":               ended("ab", "200 - -"),
		"a long digest":                ended(digits+"A", "200 - -"),
		"a digest of other characters": ended(strings.Repeat("A", 20)+"+A", "200 - -"),
		"a digest with a line end":     ended(strings.Repeat("A", 21)+"\r", "200 - -"),
		"another text of a digest":     ended(strings.Repeat("A", 21)+"B", "200 - -"),
		"no digest":                    ended("-", "200 - -"),
		"no content type":              ended(digits, "200 -"),
		"half an escaped character":    ended(digits, "200 - text%"),
		"a sealed one with a long key": "S1 1 " + own + " 1 1 200 - " + strings.Repeat("k", 33) + "\nbytes",
		"a sealed one without a key":   "S1 1 " + own + " 1 1 200 -\nbytes",
		"a failure without a reason":   "F1 1 " + own + " 1\n",
		"a failure without a past":     failed(digits, "0 0 -"),
		"an unknown verdict":           failed(digits, "0 0 guilty -"),
		"a failure's short digest":     failed("ab", "0 0 - -"),
		"a head without an end":        failed(digits, "0 0 - "+strings.Repeat("x", 4096)),
	} {
		r, err := record.Parse([]byte(value))
		if !errors.Is(err, record.ErrForeign) || !reflect.DeepEqual(r, record.Record{}) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestNumbersHoldWhatLuaHoldsExactly(t *testing.T) {
	const most = 1<<53 - 1
	value := "P1 " + strconv.Itoa(most) + " token AAAAAAAAAAAAAAAAAAAAAA " + strconv.Itoa(most) + " 0 0 1 " +
		strconv.Itoa(most) + " -\n"
	r, err := record.Parse([]byte(value))
	if err != nil || r.Attempt != most || r.Deadline.UnixMilli() != most || string(record.Append(nil, r)) != value {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestALargeResultIsNotCopied(t *testing.T) {
	value := record.Append(nil, done(record.JSON, strings.Repeat("\n", 16<<20)))
	var r record.Record
	n := testing.AllocsPerRun(10, func() {
		var err error
		if r, err = record.Parse(value); err != nil {
			t.Fatal(err)
		}
	})
	if len(r.Result.Body) != 16<<20 || &r.Result.Body[0] != &value[len(value)-16<<20] {
		t.Errorf("%d bytes, not those of the value", len(r.Result.Body))
	}
	if n > 1 { // the token
		t.Errorf("%v allocations", n)
	}
}

func TestAHeadMayBeFourKilobytesLong(t *testing.T) {
	line := len(record.Append(nil, done("", ""))) - len("\n")
	longest := done(strings.Repeat("x", 4095-line), "{}")
	if r, err := record.Parse(record.Append(nil, longest)); err != nil || !reflect.DeepEqual(r, longest) {
		t.Errorf("%+v, %v", r, err)
	}
	longest.Result.ContentType += "x"
	if r, err := record.Parse(record.Append(nil, longest)); !errors.Is(err, record.ErrForeign) {
		t.Errorf("%+v, %v", r, err)
	}
}

// FuzzParse checks that Parse never panics, and that Append writes a parsed record so that Parse reads the same again.
func FuzzParse(f *testing.F) {
	for name := range goldens() {
		f.Add(golden(f, name))
	}
	f.Add([]byte("D1 1 t AAAAAAAAAAAAAAAAAAAAAA 1 1 200 - a%20b%25%2520\n\n{}"))
	f.Add([]byte("D1 1 t AAAAAAAAAAAAAAAAAAAAAA 1 1 200 - %2D\n\n{}"))
	f.Add([]byte("F1 007 t - 01 reason 1 0 00 - 1,2,3,4,5 more\n{}"))
	f.Add([]byte("P1 1 t AAAAAAAAAAAAAAAAAAAAAA 1 9007199254740992 1 1 3 -\n"))
	f.Add([]byte("D1 1 t AAAAAAAAAAAAAAAAAAAAAA 1 1 200 x a :b X:y%20z later X:\n{}"))
	f.Fuzz(func(t *testing.T, value []byte) {
		before := bytes.Clone(value)
		r, err := record.Parse(value)
		if !bytes.Equal(value, before) {
			t.Fatalf("%q was changed to %q", before, value)
		}
		if err != nil {
			if !errors.Is(err, record.ErrForeign) {
				t.Fatalf("%q: %v", value, err)
			}
			return
		}
		again := record.Append(nil, r)
		if len(again) > 4096 { // escapes may make a head too long that was not
			return
		}
		back, err := record.Parse(again)
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%q is read as\n%+v, written as\n%q, and read as\n%+v, %v", value, r, again, back, err)
		}
		if third := record.Append(nil, back); !bytes.Equal(third, again) {
			t.Fatalf("%q is written as\n%q, then as\n%q", value, again, third)
		}
	})
}

// FuzzAppend checks that a written record is read back as it was, whatever its result is.
func FuzzAppend(f *testing.F) {
	f.Add(int64(1), "text/plain; a=b%", []byte("{}\n"), int64(1700000000123), 200)
	f.Add(int64(1<<53-1), "%%20 ", []byte(nil), int64(0), 404)
	f.Add(int64(1), "-", []byte("x"), int64(0), 200)
	f.Add(int64(1), record.JSON, []byte("{}"), int64(0), 200)
	f.Fuzz(func(t *testing.T, attempt int64, contentType string, body []byte, millis int64, status int) {
		const most = 1<<53 - 1
		inRange := func(n int64) bool { return 0 <= n && n <= most }
		if !inRange(attempt) || !inRange(millis) || !inRange(int64(status)) || contentType == "" || len(contentType) > 300 {
			t.Skip()
		}
		r := done(contentType, string(body))
		r.Attempt, r.Stored, r.Ends, r.Result.Status = attempt, at(millis), at(millis+7), status
		if r.Result.Check() != nil {
			t.Skip() // the gate stores none
		}
		back, err := record.Parse(record.Append(nil, r))
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%+v is read as %+v, %v", r, back, err)
		}
	})
}

func TestTheAttemptsBeforeAreReadOldestFirst(t *testing.T) {
	r := record.Record{Past: past}
	want := []record.Attempt{
		{Number: 1, Began: at(1700000000001), Ended: at(1700000000090), How: "expired", Replica: "gateway-7d9f8c6b5-x2k4z"},
		{Number: 2, Began: at(1700000000095), Ended: at(1700000000100), How: "timeout"},
	}
	if got := r.Attempts(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, odd := range []string{"", "-", ";;", "1,2,3,4", "1,x,3,4,5", "a,1,1,1,1;", "1,2,3,4,5,6"} {
		r.Past = odd
		if got := r.Attempts(); len(got) > 0 {
			t.Errorf("%q is read as %+v", odd, got)
		}
	}
}

func TestATokenNamesItsReplica(t *testing.T) {
	for text, want := range map[string]string{token: "gateway-7d9f8c6b5-x2k4z", record.Person: "", "x": "", "~a~1": ""} {
		if got := record.Replica(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestWhatNoResultHasIsForeign(t *testing.T) {
	planted := func(result record.Result) []byte {
		r := done("text/plain", "none")
		r.Result = result
		return record.Append(nil, r)
	}
	headers := func(name, value string) []record.Header { return []record.Header{{Name: name, Value: value}} }
	right := record.Result{Status: 404, ContentType: "text/plain", Headers: headers("Location", "/a b"),
		Body: []byte("none")}
	if _, err := record.Parse(planted(right)); err != nil {
		t.Errorf("a result is refused: %v", err)
	}
	for what, change := range map[string]func(*record.Result){
		"status 0":      func(r *record.Result) { r.Status = 0 },
		"status 199":    func(r *record.Result) { r.Status = 199 },
		"status 300":    func(r *record.Result) { r.Status = 300 },
		"status 500":    func(r *record.Result) { r.Status = 500 },
		"status 999999": func(r *record.Result) { r.Status = 999999 },
		"a cookie":      func(r *record.Result) { r.Headers = headers("Set-Cookie", "a") },
		"one hop":       func(r *record.Result) { r.Headers = headers("Connection", "close") },
		"our own":       func(r *record.Result) { r.Headers = headers("IDEMPOTENCY-REPLAYED", "true") },
		"no token":      func(r *record.Result) { r.Headers = headers("a(b)", "c") },
		"too long":      func(r *record.Result) { r.Body = make([]byte, record.MaxValue) },
	} {
		wrong := right
		change(&wrong)
		if _, err := record.Parse(planted(wrong)); !errors.Is(err, record.ErrForeign) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
