package upstream_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/upstream"
)

// encoded is a text in an encoding, as a backend would send it.
func encoded(t *testing.T, text string, names ...string) string {
	t.Helper()
	for _, name := range names {
		var b bytes.Buffer
		var w io.WriteCloser
		switch name {
		case "gzip":
			w = gzip.NewWriter(&b)
		case "zlib":
			w = zlib.NewWriter(&b)
		default:
			raw, err := flate.NewWriter(&b, flate.DefaultCompression)
			if err != nil {
				t.Fatal(err)
			}
			w = raw
		}
		_, _ = io.WriteString(w, text)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		text = b.String()
	}
	return text
}

func TestAnEncodingThatNobodyAskedForIsUndone(t *testing.T) {
	const body = `{"booking":7}`
	for name, c := range map[string]struct {
		declared []string
		body     string
	}{
		"gzip":                    {[]string{"gzip"}, encoded(t, body, "gzip")},
		"gzip in capitals":        {[]string{"GZIP"}, encoded(t, body, "gzip")},
		"x-gzip":                  {[]string{"x-gzip"}, encoded(t, body, "gzip")},
		"deflate":                 {[]string{"deflate"}, encoded(t, body, "zlib")},
		"deflate without zlib":    {[]string{"deflate"}, encoded(t, body, "raw")},
		"one around the other":    {[]string{"deflate, gzip"}, encoded(t, body, "zlib", "gzip")},
		"in headers of their own": {[]string{"gzip", "deflate"}, encoded(t, body, "gzip", "zlib")},
		"gzip in two members":     {[]string{"gzip"}, encoded(t, body[:5], "gzip") + encoded(t, body[5:], "gzip")},
		"identity":                {[]string{"identity"}, body},
		"nothing, named":          {[]string{""}, body},
		"what is no encoding":     {[]string{"utf-8"}, body},
		"gzip and identity":       {[]string{"gzip, identity"}, encoded(t, body, "gzip")},
	} {
		t.Run(name, func(t *testing.T) {
			url := answers(t, http.Header{"Content-Type": {record.JSON}, "Content-Encoding": c.declared}, c.body)
			want := logic.Result{Status: 200, ContentType: record.JSON, Body: []byte(body)}
			equal(t, open(t, upstream.Options{URL: url}).gives(webhook()), want)
			equal(t, open(t, upstream.Options{URL: url, Passthrough: true, Keep: []string{"Content-Encoding"}}).gives(webhook()),
				want)
		})
	}
}

func TestTheBackendsWordsAreReadInTheirEncodings(t *testing.T) {
	working := encoded(t, `{"status":"processing"}`, "gzip")
	for _, status := range []int{http.StatusConflict, http.StatusTooEarly} {
		h := open(t, upstream.Options{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, working)
		})})
		h.fails(t.Context(), webhook(), unknown)
	}
}

func TestNothingInAnEncodingIsNothing(t *testing.T) {
	url := answers(t, http.Header{"Content-Type": {record.JSON}, "Content-Encoding": {"gzip"}}, "")
	equal(t, len(open(t, upstream.Options{URL: url}).gives(webhook()).Body), 0)
}

func TestAnEncodingThatCanNotBeUndoneIsNoSuccess(t *testing.T) {
	whole := encoded(t, `{"a":"`+secret+`"}`, "gzip")
	for name, c := range map[string]struct{ declared, body, tells string }{
		"brotli":              {"br", "\x8b\x03\x80", "by br"},
		"zstd":                {"zstd", "\x28\xb5\x2f\xfd", "by zstd"},
		"compress":            {"compress", "\x1f\x9d", "by compress"},
		"unknown":             {secret, "x", "not known"},
		"known and unknown":   {"br, gzip", whole, "by br"},
		"gzip, cut":           {"gzip", whole[:len(whole)-9], "cut off"},
		"gzip, changed":       {"gzip", whole[:12] + "\x00" + whole[13:], "cut off, or not"},
		"gzip, more behind":   {"gzip", whole + secret, "cut off, or not"},
		"declared gzip, none": {"gzip", `{"a":1}`, "not encoded by gzip"},
		"deflate, cut":        {"deflate", encoded(t, secret, "zlib")[:8], "cut off"},
		"too many": {"gzip,gzip,gzip,gzip,gzip", encoded(t, `{}`, "gzip", "gzip", "gzip", "gzip", "gzip"),
			"5 encodings"},
	} {
		for mode, passthrough := range map[string]bool{"": false, ", passed through": true} {
			t.Run(name+mode, func(t *testing.T) {
				url := answers(t, http.Header{"Content-Type": {record.JSON}, "Content-Encoding": {c.declared}}, c.body)
				h := open(t, upstream.Options{URL: url, Passthrough: passthrough})
				if text := h.fails(t.Context(), webhook(), unknown); !strings.Contains(text, c.tells) {
					t.Errorf("error %s", text)
				}
			})
		}
	}
}

// 60 kB that unpack to 60 MB, and to 6 GB if they are unpacked twice.
func TestABombIsReadNoFurtherThanAResultMayBe(t *testing.T) {
	spaces := strings.Repeat(" ", 1<<20)
	once := strings.Repeat(encoded(t, spaces, "gzip"), 60) // a gzip text may consist of several members
	for name, c := range map[string]struct{ declared, body string }{
		"once":  {"gzip", once},
		"twice": {"gzip, gzip", encoded(t, strings.Repeat(once, 100), "gzip")},
		"raw":   {"deflate", encoded(t, strings.Repeat(spaces, 20), "raw")},
	} {
		t.Run(name, func(t *testing.T) {
			url := answers(t, http.Header{"Content-Type": {record.JSON}, "Content-Encoding": {c.declared}}, c.body)
			h := open(t, upstream.Options{URL: url, MaxResultBytes: 1 << 20})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if text := h.fails(t.Context(), webhook(), unknown); !strings.Contains(text, "MAX_RESULT_BYTES") {
				t.Errorf("error %s", text)
			}
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
				t.Errorf("%d MiB were allocated", grown>>20)
			}
		})
	}
}
