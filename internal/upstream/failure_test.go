package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/proc"
	"github.com/oncegate/oncegate/internal/upstream"
)

func TestEachStatusIsAResultOrAFailureOfItsKind(t *testing.T) {
	certain, final := []error{}, []error(nil)
	for status, kinds := range map[int][]error{
		200: final, 201: final, 202: final, 204: final, 206: final, 299: final,
		400: final, 401: final, 403: final, 404: final, 409: final, 410: final, 413: final, 422: final, 499: final,
		301: {unknown}, 302: {unknown}, 303: {unknown}, 304: {unknown}, 307: certain, 308: certain, 399: {unknown},
		408: certain, 425: certain, 429: {refused},
		101: {unknown}, 500: {unknown}, 501: {unknown}, 502: {unknown}, 503: {unknown}, 504: {unknown}, 599: {unknown},
		600: {unknown}, 999: {unknown},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			answer := fmt.Sprintf("HTTP/1.1 %d %s\r\nConnection: close\r\nLocation: /%s\r\nX: %s\r\nContent-Length: 6\r\n\r\n%s",
				status, secret, secret, secret, secret)
			if status == 204 || status == 304 {
				answer = strings.TrimSuffix(answer, secret)
			}
			h := open(t, upstream.Options{URL: says(t, answer)})
			if kinds == nil {
				equal(t, h.gives(webhook()).Status, status)
				if status != http.StatusConflict { // doubt_test.go
					equal(t, h.gives(doubtful()).Status, status)
				}
				return
			}
			text := h.fails(t.Context(), webhook(), kinds...)
			if !strings.Contains(text, fmt.Sprint(status)) {
				t.Errorf("it does not tell the status: %s", text)
			}
			h.fails(t.Context(), doubtful(), kinds...) // the gate knows of the doubt
		})
	}
}

func TestJSONThatIsCutWithItsConnectionLeavesTheOutcomeUnknown(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n"
	open(t, upstream.Options{URL: says(t, head+`{"booking":12`)}).fails(t.Context(), webhook(), unknown)
	equal(t, string(open(t, upstream.Options{URL: says(t, head+`{"booking":12}`)}).gives(webhook()).Body),
		`{"booking":12}`)
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var requests atomic.Int64
	h := open(t, upstream.Options{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})})
	h.fails(t.Context(), webhook())
	equal(t, requests.Load(), int64(1))
}

func TestAnAnswerThatCanNotBeReadLeavesTheOutcomeUnknown(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, answer := range map[string]string{
		"none":                     "",
		"cut in its head":          ok + "X: ",
		"cut in its body":          ok + "Content-Length: 10\r\n\r\n" + secret,
		"cut in a chunk":           ok + "Transfer-Encoding: chunked\r\n\r\nff\r\n" + secret,
		"cut between chunks":       ok + "Transfer-Encoding: chunked\r\n\r\n6\r\n" + secret + "\r\n",
		"no HTTP":                  secret + " " + secret + "\r\n\r\n",
		"a status that is none":    "HTTP/1.1 " + secret + " OK\r\n\r\n",
		"a header without a colon": ok + secret + "\r\n\r\n",
		"a length that is none":    ok + "Content-Length: " + secret + "\r\n\r\n",
		"a chunk that is none":     ok + "Transfer-Encoding: chunked\r\n\r\n" + secret + "\r\n",
		"a huge head":              ok + "X: " + strings.Repeat(secret, 20000) + "\r\n\r\n",
		"early hints for ever":     strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+secret+"\r\n\r\n", 5000),
		"too large, declared":      ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", maxResultBytes+1),
		"too large, not declared":  ok + "\r\n" + strings.Repeat("x", maxResultBytes+1),
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, upstream.Options{URL: says(t, answer)})
			h.fails(t.Context(), webhook(), unknown)
		})
	}
}

func TestAnEndlessBodyIsReadNoFurtherThanItMayBe(t *testing.T) {
	const buffered = 64 << 20 // more than sockets and servers hold on the way
	var sent atomic.Int64
	h := open(t, upstream.Options{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the caller leaves
		for r.Context().Err() == nil {
			n, _ := fmt.Fprint(w, secret)
			sent.Add(int64(n))
		}
	})})
	h.fails(t.Context(), webhook(), unknown)
	if n := sent.Load(); n > buffered {
		t.Errorf("%d bytes were sent", n)
	}
}

func TestAnExecutionThatIsCutOffTellsWhyAndThatTheOutcomeIsUnknown(t *testing.T) {
	for name, head := range map[string]string{"before an answer": "",
		"in its body": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"} {
		for _, cause := range []error{logic.ErrTimeout, logic.ErrLeaseLost, errors.New("shutdown")} {
			t.Run(name+", "+cause.Error(), func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				h := open(t, upstream.Options{URL: raw(t, func(c net.Conn, requests *bufio.Reader) {
					if took(requests) {
						fmt.Fprint(c, head)
						cancel(cause)
						_, _ = requests.ReadByte() // until the other side closes
					}
				})})
				h.cutOff(ctx, webhook(), unknown)
			})
		}
	}
}

func TestASlowBodyEndsWithTheExecution(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	h := open(t, upstream.Options{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the caller leaves
		defer time.AfterFunc(100*time.Millisecond, func() { cancel(logic.ErrTimeout) }).Stop()
		for r.Context().Err() == nil {
			fmt.Fprint(w, " ")
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})})
	h.cutOff(ctx, webhook(), unknown)
}

func TestWithoutAConnectionNothingWasSent(t *testing.T) {
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{
		"nobody listens":     "http://127.0.0.1:" + port + "/?" + secret,
		"no such host":       "http://backend.invalid/?" + secret,
		"no TLS behind it":   strings.Replace(says(t, "HTTP/1.1 200 OK\r\n\r\n"), "http:", "https:", 1),
		"closes in TLS":      strings.Replace(raw(t, func(net.Conn, *bufio.Reader) {}), "http:", "https:", 1),
		"a certificate's CA": httpsWithoutTrust(t),
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, upstream.Options{URL: url})
			h.fails(t.Context(), webhook(), refused)
			h.fails(t.Context(), doubtful(), refused)
		})
	}
}

func TestAnExecutionThatEndedBeforeItBeganSentNothing(t *testing.T) {
	h := open(t, upstream.Options{URL: says(t, "")})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(logic.ErrLeaseLost)
	h.cutOff(ctx, webhook(), refused)
}

func TestAHeaderThatCanNotBeSentIsNoFaultOfTheBackends(t *testing.T) {
	h := open(t, upstream.Options{URL: serve(t, func(http.ResponseWriter, *http.Request) {}), BreakerFailures: 1,
		BreakerPause: time.Hour})
	w := webhook()
	w.Headers = []logic.Header{{Name: "X-Odd", Value: secret + "\r\nX: y"}}
	h.fails(t.Context(), w)
	h.gives(webhook())
}
