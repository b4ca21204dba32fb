package upstream_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/upstream"
)

// answers is a backend that gives each request the same answer.
func answers(t *testing.T, header http.Header, body string) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil // no guess
		w.Header()["Date"] = nil
		maps.Copy(w.Header(), header)
		fmt.Fprint(w, body)
	})
}

func TestAPassedThroughAnswerIsCalledJSONOnlyIfItIs(t *testing.T) {
	const octets, broken = "application/octet-stream", "application/json; charset=utf-8"
	for name, c := range map[string]struct{ declared, body, passed string }{
		"JSON":                     {"application/json", `{"a":[1]}`, record.JSON},
		"JSON with a charset":      {"application/json; charset=utf-8", `{}`, "application/json; charset=utf-8"},
		"JSON in capitals":         {"Application/JSON", `{}`, "Application/JSON"},
		"a problem":                {"application/problem+json", `{}`, "application/problem+json"},
		"a scalar":                 {"application/json", ` 7 `, record.JSON},
		"declared, but none":       {"application/json", `{"a":`, broken},
		"declared, but two":        {"application/json", `{} {}`, broken},
		"declared, but empty":      {"application/json", ``, broken},
		"declared, but not UTF-8":  {"application/json", "\"\xff\"", broken},
		"declared, with a mark":    {"application/json", "\ufeff{}", broken},
		"with a charset, but none": {"application/json; charset=utf-8", `{`, "application/json; charset=utf-8"},
		"JSON, not declared":       {"", `{}`, octets},
		"text":                     {"text/html; charset=utf-8", `<p>`, "text/html; charset=utf-8"},
		"binary":                   {"image/png", "\x89PNG\r\n", "image/png"},
		"nothing":                  {"", ``, octets},
		"a type too long":          {"text/" + strings.Repeat("x", 252), `x`, octets},
		"a type of 256 bytes":      {"text/" + strings.Repeat("x", 251), `x`, "text/" + strings.Repeat("x", 251)},
		"a type with a tab":        {"text/\tplain", `x`, octets},
		"a type that is not UTF-8": {"text/\xff", `x`, octets},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, upstream.Options{URL: answers(t, typed(c.declared), c.body), Passthrough: true}).gives(webhook())
			equal(t, []string{r.ContentType, string(r.Body)}, []string{c.passed, c.body})
		})
	}
}

func typed(contentType string) http.Header {
	if contentType == "" {
		return http.Header{}
	}
	return http.Header{"Content-Type": {contentType}}
}

func TestAnEmptyAnswerIsAResult(t *testing.T) {
	h := open(t, upstream.Options{URL: serve(t, func(w http.ResponseWriter,
		_ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})})
	equal(t, h.gives(webhook()), logic.Result{Status: 204, ContentType: "application/octet-stream", Body: []byte{}})
}

func TestAResultMayHaveAsManyBytesAsAreAllowed(t *testing.T) {
	for name, coding := range map[string]string{"of a declared length": fmt.Sprintf("Content-Length: %d\r\n",
		maxResultBytes), "until the end": ""} {
		t.Run(name, func(t *testing.T) {
			h := open(t, upstream.Options{URL: says(t, "HTTP/1.1 200 OK\r\n"+coding+"\r\n"+strings.Repeat("x", maxResultBytes))})
			equal(t, len(h.gives(webhook()).Body), maxResultBytes)
		})
	}
}

func TestAnswersBeforeTheFinalOneAreSkipped(t *testing.T) {
	h := open(t, upstream.Options{URL: says(t, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: "+
		"</a>\r\n\r\n"+
		"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")})
	equal(t, h.gives(webhook()), logic.Result{Status: 201, ContentType: "text/plain", Body: []byte("ok")})
}

func TestOnlyChosenHeadersAreKeptAndNeverACookie(t *testing.T) {
	h := open(t, upstream.Options{
		Keep: []string{"location", "Set-Cookie", "set-cookie2", "AUTHORIZATION", "Link", "X-Absent", "LOCATION",
			"content-encoding"},
		URL: answers(t, http.Header{
			"Location": {"/orders/7"}, "Link": {"</a>", "</b>"}, "X-Other": {"o"},
			"Set-Cookie": {secret}, "Set-Cookie2": {secret}, "Authorization": {secret},
		}, ""),
	})
	equal(t, h.gives(webhook()).Headers, []logic.Header{{Name: "location", Value: "/orders/7"},
		{Name: "Link", Value: "</a>, </b>"}})
}

func TestAHeaderThatConnectionNamesIsNotKept(t *testing.T) {
	for _, named := range [][]string{{"X-Hop"}, {"keep-alive, x-hop"}, {"keep-alive", "X-HOP"}} {
		h := open(t, upstream.Options{
			Keep: []string{"X-Hop", "X-End"},
			URL:  answers(t, http.Header{"X-Hop": {"1"}, "X-End": {"2"}, "Connection": named}, "x"),
		})
		equal(t, h.gives(webhook()).Headers, []logic.Header{{Name: "X-End", Value: "2"}})
	}
}

func TestHeadersThatARecordCanNotHoldAreLeftOutWithALine(t *testing.T) {
	for name, value := range map[string]string{
		"too long":              strings.Repeat(secret, 400),
		"too long when written": strings.Repeat("%", 2000),
		"not UTF-8":             secret + "\xff",
		"a control character":   secret + "\t",
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, upstream.Options{
				Keep: []string{"X-A", "X-Odd", "X-B"},
				URL:  answers(t, http.Header{"X-A": {"a"}, "X-Odd": {value + "."}, "X-B": {"b"}}, ""),
			})
			equal(t, h.gives(webhook()).Headers, []logic.Header{{Name: "X-A", Value: "a"}, {Name: "X-B", Value: "b"}})
			if log := h.log.String(); !strings.Contains(log, "header=X-Odd") || strings.Contains(log, secret) {
				t.Errorf("log %q", log)
			}
		})
	}
}
