package upstream_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/span"
	"github.com/oncegate/oncegate/internal/upstream"
)

func TestAWebhookIsForwardedAsItCameWithItsKeyAndAttempt(t *testing.T) {
	type seen struct {
		method, path, body string
		header             http.Header
	}
	requests := make(chan seen, 1)
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- seen{r.Method, r.URL.RequestURI(), string(body), r.Header}
	})
	h := open(t, upstream.Options{
		URL: url + "/hook?x=1", KeyHeader: "X-Key",
		Headers: []logic.Header{{Name: "X-Api-Key", Value: secret}, {Name: "X-Both", Value: "static"}},
	})
	w := webhook()
	w.Attempt = 3
	w.Headers = []logic.Header{
		{Name: "traceparent", Value: "00-1"}, {Name: "X-Twice", Value: "a"}, {Name: "X-Twice", Value: "b"},
		{Name: "X-Both", Value: "caller's"}, {Name: "accept-encoding", Value: "br"}, {Name: "x-key", Value: "caller's"},
	}
	h.gives(w)
	equal(t, <-requests, seen{http.MethodPost, "/hook?x=1", string(w.Body), http.Header{
		"Content-Type": {"application/json"}, "Content-Length": {fmt.Sprint(len(w.Body))},
		"X-Key": {key.Hex()}, "Idempotency-Attempt": {"3"},
		"Traceparent": {"00-1"}, "X-Twice": {"a", "b"},
		"X-Api-Key": {secret}, "X-Both": {"static"},
		"Accept-Encoding": {"identity"}, "User-Agent": {"oncegate"},
	}})
}

func TestTheKeyGoesInIdempotencyKeyByDefault(t *testing.T) {
	keys := make(chan string, 1)
	h := open(t, upstream.Options{URL: serve(t, func(_ http.ResponseWriter,
		r *http.Request) {
		keys <- r.Header.Get("Idempotency-Key")
	})})
	h.gives(webhook())
	equal(t, <-keys, key.Hex())
}

func TestTheKeyMayBeAUUID(t *testing.T) {
	h, s := asking(t, step{status: 404}, step{status: 201})
	h.UUID = true
	h.gives(doubtful())
	equal(t, s.last.Header.Get("Idempotency-Key"), key.UUID())
	h, s = asking(t, step{status: 200, body: `{}`})
	h.UUID = true
	h.gives(doubtful())
	equal(t, s.last.URL.Path, "/status/"+key.UUID())
	equal(t, s.last.Header.Get("Idempotency-Key"), key.UUID())
}

func TestConnectionsAreKept(t *testing.T) {
	from := make(chan string, 3)
	status := http.StatusOK
	h := open(t, upstream.Options{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		from <- r.RemoteAddr
		w.WriteHeader(status)
		fmt.Fprint(w, `{}`)
	})})
	h.gives(webhook())
	status = http.StatusTooManyRequests
	h.fails(t.Context(), webhook(), refused)
	status = http.StatusOK
	h.gives(webhook())
	first := <-from
	equal(t, []string{<-from, <-from}, []string{first, first})
}

// The kept connection is cut after the backend has read the second request and worked. The first request only sets up
// the connection.
func TestAPostIsNeverSentAgainWhenItsKeptConnectionIsCut(t *testing.T) {
	for name, body := range map[string][]byte{"with a body": []byte(`{"a":1}`), "with an empty body": nil} {
		for how, linger := range map[string]int{"closed": -1, "reset": 0} {
			t.Run(name+", "+how, func(t *testing.T) {
				var worked atomic.Int64
				h := open(t, upstream.Options{URL: raw(t, func(c net.Conn, requests *bufio.Reader) {
					for first := true; took(requests); first = false {
						worked.Add(1)
						if !first {
							_ = c.(*net.TCPConn).SetLinger(linger)
							return
						}
						fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
					}
				})})
				w := webhook()
				w.Body = body
				h.gives(w)
				h.fails(t.Context(), w, unknown)
				if n := worked.Load(); n != 2 {
					t.Errorf("the backend worked %d times for 2 executions", n)
				}
			})
		}
	}
}

// TestTheBackendGoesOnWithTheTraceOfTheExecution: it replaces the trace that the caller sent, also in the question
// about an attempt in doubt.
func TestTheBackendGoesOnWithTheTraceOfTheExecution(t *testing.T) {
	h, s := asking(t, step{status: 200, body: `{}`})
	ctx := span.WithHeaders(t.Context(), map[string]string{"traceparent": "the execution's"})
	for _, w := range []logic.Webhook{webhook(), doubtful()} {
		w.Headers = []logic.Header{{Name: "traceparent", Value: "the caller's"}}
		if _, err := h.Execute(ctx, w); err != nil {
			t.Fatal(err)
		}
		equal(t, s.last.Header["Traceparent"], []string{"the execution's"})
		h.gives(w)
		equal(t, s.last.Header["Traceparent"], []string{"the caller's"})
	}
	equal(t, s.asked(), []string{http.MethodPost, http.MethodPost, http.MethodGet, http.MethodGet})
}
