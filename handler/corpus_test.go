package handler_test

import (
	"fmt"
	"strings"
)

// stranger is the text that an unknown client sends on a new connection, and the answers that it must get.
type stranger struct {
	what  string
	sends string
	gets  []int // the statuses of all answers; then the connection is closed
}

// posted returns the request of a webhook. Each line of headers includes its line end.
func posted(headers, body string) string {
	return "POST /webhook/cognigy HTTP/1.1\r\nHost: h\r\n" + headers + "\r\n" + body
}

func measured(body string) string {
	return posted(fmt.Sprintf("Content-Length: %d\r\n", len(body)), body)
}

func chunked(body string) string { return posted("Transfer-Encoding: chunked\r\n", body) }

// chunk is the webhook as one chunk, and last ends a body in chunks.
var chunk = fmt.Sprintf("%x\r\n%s\r\n", len(webhook), webhook)

const last = "0\r\n\r\n"

// next is a request that follows on the same connection, or hides in an ill-framed one.
const next = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"

// illFramed has requests whose end another HTTP reader may see elsewhere. Each is refused, and nothing after it is
// read.
var illFramed = map[string]string{
	"an identity encoding":            posted("Transfer-Encoding: identity\r\n", "{}"),
	"an encoding that is not known":   posted("Transfer-Encoding: gzip\r\n", "{}"),
	"another encoding before chunked": posted("Transfer-Encoding: gzip, chunked\r\n", chunk+last),
	"chunked twice on a line":         posted("Transfer-Encoding: chunked, chunked\r\n", chunk+last),
	"chunked and identity": posted("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
		chunk+last),
	"chunked in quotes":             posted("Transfer-Encoding: \"chunked\"\r\n", chunk+last),
	"chunked behind a vertical tab": posted("Transfer-Encoding: \vchunked\r\n", chunk+last),
	"chunked in HTTP/1.0": "POST /webhook/cognigy HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" +
		chunk + last,
	"an encoding over a length":       posted("Content-Length: 2\r\nTransfer-Encoding: identity\r\n", "{}"),
	"a length, then chunks":           posted("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunk+last),
	"chunks, then a length":           posted("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunk+last),
	"two lengths":                     posted("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
	"the same length twice":           posted("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"),
	"the same length twice on a line": posted("Content-Length: 2, 2\r\n", "{}"),
	"a negative length":               posted("Content-Length: -2\r\n", "{}"),
	"a length with a plus":            posted("Content-Length: +2\r\n", "{}"),
	"a hexadecimal length":            posted("Content-Length: 0x2\r\n", "{}"),
	"a length with a fraction":        posted("Content-Length: 2.0\r\n", "{}"),
	"a length beyond every integer":   posted("Content-Length: 18446744073709551618\r\n", "{}"),
	"an empty length":                 posted("Content-Length:\r\n", "{}"),
	"a folded header":                 posted("X-A: a\r\n b\r\nContent-Length: 2\r\n", "{}"),
	"a header folded by a tab":        posted("X-A: a\r\n\tb\r\nContent-Length: 2\r\n", "{}"),
	"a folded length":                 posted("Content-Length:\r\n 2\r\n", "{}"),
	"a folded encoding":               posted("Transfer-Encoding:\r\n chunked\r\n", chunk+last),
	"a fold before all headers": "POST /webhook/cognigy HTTP/1.1\r\n X-A: a\r\nHost: h\r\nContent-Length: " +
		"2\r\n\r\n{}",
	"a header that ends in a line feed":      posted("X-A: a\nContent-Length: 2\r\n", "{}"),
	"headers that end in a line feed":        "POST /webhook/cognigy HTTP/1.1\r\nHost: h\r\nX-A: a\r\n\n",
	"a carriage return in a header":          posted("X-A: a\rContent-Length: 3\r\nContent-Length: 2\r\n", "{}"),
	"a NUL in a header":                      posted("X-A: a\x00\r\nContent-Length: 2\r\n", "{}"),
	"a space before the colon":               posted("Content-Length : 2\r\n", "{}"),
	"a space in a header's name":             posted("X Content-Length: 3\r\nContent-Length: 2\r\n", "{}"),
	"a header without a name":                posted(": a\r\nContent-Length: 2\r\n", "{}"),
	"a header without a colon":               posted("Content-Length\r\nContent-Length: 2\r\n", "{}"),
	"a character that no name has":           posted("X-\xc3\x84: a\r\nContent-Length: 2\r\n", "{}"),
	"no host":                                "POST /webhook/cognigy HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
	"two hosts":                              posted("Host: other\r\nContent-Length: 2\r\n", "{}"),
	"a chunk of a negative size":             chunked("-" + chunk + last),
	"a chunk whose size has a prefix":        chunked("0x" + chunk + last),
	"a chunk whose size has a sign":          chunked("+" + chunk + last),
	"a chunk without a size":                 chunked("\r\n" + webhook + "\r\n" + last),
	"a chunk of two sizes":                   chunked("2 " + chunk + last),
	"a chunk whose size no integer has":      chunked("100000000000000" + chunk + last),
	"a chunk whose size ends in a line feed": chunked(strings.Replace(chunk, "\r\n", "\n", 1) + last),
	"a line feed in a chunk's extension":     chunked(strings.Replace(chunk, "\r\n", ";a\nb\r\n", 1) + last),
	"a chunk that is longer than it says":    chunked("1\r\n" + webhook + "\r\n" + last),
	"a chunk that does not end":              chunked(strings.TrimSuffix(chunk, "\r\n") + last),
	"a trailer":                              chunked(chunk + "0\r\nX-A: a\r\n\r\n"),
	"a trailer that was announced": posted("Trailer: X-A\r\nTransfer-Encoding: chunked\r\n",
		chunk+"0\r\nX-A: a\r\n\r\n"),
	"a length in the trailers":        chunked(chunk + "0\r\nContent-Length: 2\r\n\r\n"),
	"a folded trailer":                chunked(chunk + "0\r\nX-A: a\r\n b\r\n\r\n"),
	"a trailer without a colon":       chunked(chunk + "0\r\nX-A\r\n\r\n"),
	"rubbish":                         "rubbish\r\n\r\n",
	"bytes at random":                 "\x8f\x00\xff\x13\r\n\r\n\x07",
	"TLS":                             "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
	"HTTP/2":                          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"HTTP/0.9":                        "GET /healthz\r\n\r\n",
	"a version that is none":          "GET /healthz HTTP/1.1.1\r\nHost: h\r\n\r\n",
	"a method that is none":           "G(T /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
	"a path with a control character": "GET /health\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
	"a path with a space":             "GET /health z HTTP/1.1\r\nHost: h\r\n\r\n",
	"a path without a slash":          "GET healthz HTTP/1.1\r\nHost: h\r\n\r\n",
}

// noWebhooks holds bodies that no replica may execute. Their connection is kept, because their end is certain.
var noWebhooks = map[string]string{
	"nothing":                     " ",
	"a megabyte of nothing":       strings.Repeat(" ", 1<<20),
	"10,000 arrays in each other": strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
	"10,000 objects in each other": with(`"variables":` + strings.Repeat(`{"a":`, 10_000) + `1` +
		strings.Repeat(`}`, 10_000)),
	"10,000 arrays in a field of the logic's": with(`"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)),
	"a megabyte of opening brackets":          strings.Repeat("[", 1<<20),
	"a megabyte of opening objects":           strings.Repeat(`{"":`, 1<<18),
	"a sequence beyond every float":           `{"dialogId":"d-0001","nodeId":"n-0001","sequence":1e400}`,
	"a sequence of 100,000 digits": `{"dialogId":"d-0001","nodeId":"n-0001","sequence":` +
		strings.Repeat("7", 100_000) + `}`,
	"an exponent of 100,000 digits": `{"dialogId":"d-0001","nodeId":"n-0001","sequence":7e` +
		strings.Repeat("9", 100_000) + `}`,
	"a fraction of 100,000 digits": `{"dialogId":"d-0001","nodeId":"n-0001","sequence":7.` +
		strings.Repeat("0", 100_000) + `1}`,
	"a sequence that is 2^64 too large":       `{"dialogId":"d-0001","nodeId":"n-0001","sequence":18446744073709551623}`,
	"a sequence that is not canonical":        `{"dialogId":"d-0001","nodeId":"n-0001","sequence":"007"}`,
	"invalid UTF-8 in an id":                  "{\"dialogId\":\"d-0001\xff\",\"nodeId\":\"n-0001\",\"sequence\":7}",
	"invalid UTF-8 in a key":                  with("\"\xff\":1"),
	"invalid UTF-8 in a field of the logic's": with("\"a\":\"\xed\xa0\x80\""),
	"an overlong NUL":                         "{\"dialogId\":\"d-0001\xc0\x80\",\"nodeId\":\"n-0001\",\"sequence\":7}",
	"UTF-16":                                  "{\x00\"\x00a\x00\"\x00:\x001\x00}\x00",
	"UTF-16 with a byte order mark":           "\xff\xfe{\x00\"\x00a\x00\"\x00:\x001\x00}\x00",
	"two byte order marks":                    "\xef\xbb\xbf\xef\xbb\xbf" + webhook,
	"a byte order mark alone":                 "\xef\xbb\xbf",
	"a byte order mark at the end":            webhook + "\xef\xbb\xbf",
	"a dialog that is undefined":              `{"dialogId":"undefined","nodeId":"n-0001","sequence":7}`,
	"a dialog that is a template":             `{"dialogId":"{{input.sessionId}}","nodeId":"n-0001","sequence":7}`,
	"a dialog of white space":                 `{"dialogId":" \t ","nodeId":"n-0001","sequence":7}`,
	"a node that is an object's name":         `{"dialogId":"d-0001","nodeId":"[object Object]","sequence":7}`,
	"a sequence that is a template":           `{"dialogId":"d-0001","nodeId":"n-0001","sequence":"${input.execution}"}`,
	"a sequence that is no number":            `{"dialogId":"d-0001","nodeId":"n-0001","sequence":"NaN"}`,
	"the first half of a surrogate pair":      `{"dialogId":"d-0001\ud800","nodeId":"n-0001","sequence":7}`,
	"the second half of a surrogate pair":     `{"dialogId":"\udc00d-0001","nodeId":"n-0001","sequence":7}`,
	"half a surrogate pair in a sequence":     `{"dialogId":"d-0001","nodeId":"n-0001","sequence":"7\ud800"}`,
	"a dialog given twice":                    with(`"dialogId":"d-0001"`),
	"a dialog given twice, once escaped":      with(`"dialog\u0049d":"d-0002"`),
	"a sequence given twice":                  with(`"sequence":8`),
	"keys in another case":                    `{"DIALOGID":"d-0001","nodeid":"n-0001","Sequence":7}`,
	"a NUL behind the end":                    webhook + "\x00",
	"a second webhook behind the end":         webhook + webhook,
	"half a webhook":                          webhook[:len(webhook)/2],
	"a comment":                               "/* */" + webhook,
	"quotes of another kind":                  strings.ReplaceAll(webhook, `"`, `'`),
	"a comma too many":                        webhook[:len(webhook)-1] + `,}`,
	"no number":                               with(`"a":NaN`),
	"a number with a zero before it":          with(`"a":01`),
	"a line end in a string":                  with("\"a\":\"\n\""),
	"an array of webhooks":                    "[" + webhook + "]",
}

// otherPaths holds paths that become ours only when they are normalised. None is served.
var otherPaths = []string{
	"//webhook/cognigy", "/webhook//cognigy", "/webhook/cognigy/", "/webhook/cognigy//", "/./webhook/cognigy",
	"/webhook/./cognigy",
	"/x/../webhook/cognigy", "/webhook/x/../cognigy", "/webhook/cognigy/x/..", "/webhook%2fcognigy",
	"/webhook/%2e/cognigy",
	"/%77ebhook/cognigy", "/webhook/cogni%67y", "/webhook\\cognigy", "/Webhook/cognigy", "/webhook/cognigy;a=b",
	"/webhook/cognigy#a", "/#/webhook/cognigy", "/?/webhook/cognigy", "http://h//webhook/cognigy",
	"http://h/x/../webhook/cognigy",
	"http://h?/webhook/cognigy", "http://h/webhook/cognigy#a", "//h/webhook/cognigy", "/http://h/webhook/cognigy",
}

// with returns the webhook with one more member.
func with(member string) string { return webhook[:len(webhook)-1] + "," + member + "}" }

// texts holds the one webhook in every way in which it may be written.
var texts = map[string]string{
	"as it is":                 measured(webhook),
	"behind a byte order mark": measured("\xef\xbb\xbf" + webhook),
	"in no encoding": posted(fmt.Sprintf("Content-Encoding: Identity\r\nContent-Length: %d\r\n",
		len(webhook)), webhook),
	"with a query": strings.Replace(measured(webhook), "cognigy", "cognigy?a=/b", 1),
	"in another order": measured(
		`{"variables":{"seats":2},"sequence":7,"nodeId":"n-0001","dialogId":"d-0001"}`,
	),
	"with white space": measured("\r\n\t {\n \"dialogId\" : \"d-0001\" " +
		",\t\"nodeId\":\"n-0001\",\"sequence\" : 7 , \"variables\":{ \"seats\":2 } } \n"),
	"escaped": measured(
		`{"\u0064ialogId":"\u0064\u002D0001","node\u0049d":"n-\u0030001","sequence":"\u0037"}`,
	),
	"with a fraction":  measured(`{"dialogId":"d-0001","nodeId":"n-0001","sequence":7.000}`),
	"with an exponent": measured(`{"dialogId":"d-0001","nodeId":"n-0001","sequence":0.7E+1}`),
	"with 100,000 zeros": measured(`{"dialogId":"d-0001","nodeId":"n-0001","sequence":7` +
		strings.Repeat("0", 100_000) + `e-100000}`),
	"with a string":            measured(`{"dialogId":"d-0001","nodeId":"n-0001","sequence":"7"}`),
	"with keys in other cases": measured(with(`"DialogId":"d-0002","NODEID":5,"Sequence":8`)),
	"with huge numbers": measured(with(`"a":[1e999999999,-` + strings.Repeat("9", 100_000) +
		`,1e-400]`)),
	"with half a surrogate pair elsewhere": measured(with(`"a":"\ud800","\udc00":1`)),
	"with 900 arrays in each other":        measured(with(`"a":` + strings.Repeat("[", 900) + strings.Repeat("]", 900))),
	"with the logic's keys twice":          measured(with(`"a":1,"a":2,"variables":{"seats":3}`)),
	"in one chunk":                         chunked(chunk + last),
	"in chunks of a byte":                  chunked(bytewise(webhook)),
	"in chunks with extensions": chunked(fmt.Sprintf("000%X;a=\"b\";c\r\n%s\r\n00;d\r\n\r\n", len(webhook),
		webhook)),
	"in HTTP/1.0": fmt.Sprintf("POST /webhook/cognigy HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s",
		len(webhook), webhook),
	"to a whole URL": fmt.Sprintf("POST http://h/webhook/cognigy HTTP/1.1\r\nHost: "+
		"h\r\nContent-Length: %d\r\n\r\n%s", len(webhook), webhook),
	"behind empty lines": "\r\n\r\n" + measured(webhook),
	"with headers in other cases": posted(fmt.Sprintf("cONTENT-lENGTH:%d\r\nCONTENT-TYPE: TEXT/JSON\r\n",
		len(webhook)), webhook),
	"with headers of other alphabets": posted(fmt.Sprintf("X-A: \xff\xfe\xc3\xa4\r\nContent-Length:\t%d \r\n",
		len(webhook)), webhook),
	"after it was asked for": posted(fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", len(webhook)), webhook),
}

func bytewise(body string) (chunks string) {
	for i := range len(body) {
		chunks += "1\r\n" + body[i:i+1] + "\r\n"
	}
	return chunks + last
}

// strangers returns all of them, and some more that send too much, too little, or several requests at once.
func strangers() []stranger {
	all := []stranger{
		{"nothing at all", "", nil},
		{"empty lines", "\r\n\r\n\r\n", nil},
		{"a head that is cut", "POST /webhook/cognigy HTTP/1.1\r\nHo", []int{400}},
		{"a body that is cut", posted("Content-Length: 100\r\n", webhook), []int{400}},
		{"a chunk that is cut", chunked("64\r\n" + webhook), []int{400}},
		{"a large header", posted("X-A: "+strings.Repeat("a", 17<<10)+"\r\nContent-Length: 2\r\n", "{}"), []int{431}},
		{"10,000 headers", posted(strings.Repeat("X-A: a\r\n", 10_000)+"Content-Length: 2\r\n", "{}"), []int{431}},
		{"a long path", "GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", []int{431}},
		{"an endless line", strings.Repeat("a", 1<<20), []int{431}},
		{"a length far too large", posted("Content-Length: 1099511627776\r\n", "{}"), []int{413}},
		{"a body that is too large", measured(strings.Repeat(" ", 1<<20+1)), []int{413}},
		{"a chunk far too large, of which little comes", chunked("fffffffffff\r\n{}"), []int{400}},
		{"a chunk far too large", chunked("fffffffffff\r\n" + strings.Repeat(" ", 1<<20+1)), []int{413}},
		{"chunks that are too many", chunked(strings.Repeat("10000\r\n"+strings.Repeat(" ", 0x10000)+"\r\n", 17)),
			[]int{413}},
		{"a length far too large to be asked for", posted("Expect: 100-continue\r\nContent-Length: 1099511627776\r\n", ""),
			[]int{413}},
		{"a line feed in place of the trailers", chunked(chunk+"0\r\n\n") + next, []int{200}},
		{"a body that is packed", posted("Content-Encoding: gzip\r\nContent-Length: 2\r\n", "\x1f\x8b") + next,
			[]int{415, 200}},
		{"a form", posted("Content-Type: multipart/form-data; boundary=a\r\nContent-Length: 5\r\n", "--a--") + next,
			[]int{415, 200}},
		{"a wrong method, with a body", strings.Replace(measured(webhook), "POST", "PUT", 1) + next, []int{405, 200}},
		{"a method of his own", strings.Replace(measured(webhook), "POST", "post", 1) + next, []int{405, 200}},
		{"a web page of another origin", posted("Sec-Fetch-Site: cross-site\r\nContent-Length: 2\r\n", "{}") + next,
			[]int{403, 200}},
		{"a path out of the tree", "GET /webhook/../../etc/%70asswd%00 HTTP/1.1\r\nHost: h\r\n\r\n" + next, []int{404, 200}},
		{"a fingerprint that is none", "GET /webhook/cognigy/%00%ff HTTP/1.1\r\nHost: h\r\n\r\n" + next, []int{400, 200}},
		{"a webhook without a body", posted("", "") + next, []int{400, 200}},
		{"a webhook whose length is missing", posted("", webhook), []int{400, 400}},
		{"more than he said", measured(webhook) + "rubbish\r\n\r\n" + next, []int{200, 400}},
		{"less than he said", posted("Content-Length: 1000\r\n", webhook+next), []int{400}},
		{"100 requests at once, then rubbish", strings.Repeat(next, 100) + "\x00\r\n\r\n" + next,
			append(repeated(200, 100), 400)},
		{"a body that he was asked for, then rubbish", posted("Expect: 100-continue\r\nContent-Length: 2\r\n", "{}") +
			"\x00\r\n\r\n", []int{100, 400, 400}},
	}
	for what, sends := range illFramed {
		all = append(all, stranger{what, sends + next, []int{400}})
	}
	for _, path := range otherPaths {
		all = append(all, stranger{"the path " + path, strings.Replace(measured(webhook), "/webhook/cognigy", path, 1) + next,
			[]int{404, 200}})
	}
	for what, body := range noWebhooks {
		all = append(all, stranger{what, measured(body) + next, []int{400, 200}})
	}
	for what, sends := range texts {
		gets := []int{200, 200}
		switch {
		case strings.Contains(sends, "Expect:"):
			gets = []int{100, 200, 200}
		case strings.Contains(sends, "HTTP/1.0"), strings.Contains(sends, "chunked"): // their connection is not kept
			gets = []int{200}
		}
		all = append(all, stranger{what, sends + next, gets})
	}
	return all
}

func repeated(status, times int) (statuses []int) {
	for range times {
		statuses = append(statuses, status)
	}
	return statuses
}
