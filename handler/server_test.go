package handler_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
)

// small is the bound of a body in these tests.
const small = 64 << 10

func TestABodyThatIsTooLargeIs413(t *testing.T) {
	t.Parallel()
	const tooLarge = `{"detail":"The body is too large"}`
	h := onReal(t)
	r := h.open(options())
	head := "POST /webhook/cognigy HTTP/1.1\r\nHost: localhost\r\n"
	for name, request := range map[string]string{
		"announced": head + fmt.Sprintf("Content-Length: %d\r\n\r\n{", small+1),
		"in chunks": head + "Transfer-Encoding: chunked\r\n\r\n" +
			strings.Repeat("1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n", 17),
		"after a 100":     head + fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", small+1),
		"sent as a whole": head + fmt.Sprintf("Content-Length: %d\r\n\r\n", small+1) + strings.Repeat("x", small+1),
	} {
		t.Run(name, func(t *testing.T) { expect(t, r.exchange(request), 413, tooLarge) })
	}
	h.expectExecutions(0)
}

func TestTheLargestBodyIsRead(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	body := webhook + strings.Repeat(" ", small-len(webhook))
	h.expect(r.post(body), 200, success(`{"execution":1}`), "Idempotency-Status: executed", named, first)
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	h.expect(fresh(r.exchange("POST /webhook/cognigy HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"+
		chunked)), 200, cached(`{"execution":1}`),
		"Idempotency-Status: replayed", named, first, replayed, "Age: 0")
}

// Most clients read nothing before they have sent everything: a connection that is reset meanwhile would hide the
// answer.
func TestWhoSendsFarTooMuchSeesThe413(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	for _, size := range []int{small + 1, 1 << 20, 16 << 20} {
		if status, err := r.zeros(size); status != 413 {
			t.Errorf("%d bytes: %d, %v", size, status, err)
		}
	}
}

func TestWhatIsNoHTTPIsToldSo(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	head := "POST /webhook/cognigy HTTP/1.1\r\nHost: localhost\r\n"
	for name, request := range map[string]string{
		"rubbish":                       "rubbish\r\n\r\n",
		"TLS":                           "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"HTTP/2":                        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"no host":                       "GET /healthz HTTP/1.1\r\n\r\n",
		"a negative length":             head + "Content-Length: -1\r\n\r\n",
		"two lengths":                   head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"an encoding that is not known": head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"a space before the colon":      head + "Content-Length : 2\r\n\r\n{}",
	} {
		t.Run(name, func(t *testing.T) { expect(t, r.exchange(request), 400, `{"detail":"The request is not valid HTTP"}`) })
	}
	h.expect(r.exchange(request("GET", "/healthz", "")), 200, `{"status":"alive"}`)
}

func TestHeadersThatAreTooLargeAre431(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	header := func(size int) string { return "X-Large: " + strings.Repeat("x", size) }
	h.expect(r.exchange(request("GET", "/healthz", "", header(15<<10))), 200, `{"status":"alive"}`)
	h.expect(r.exchange(request("GET", "/healthz", "", header(17<<10))), 431, `{"detail":"The headers are too large"}`)
}

func TestARequestThatComesTooSlowlyIs408(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openWith(options(), handler.Options{}, func(s *handler.Server) { s.ReadTimeout = 100 * time.Millisecond })
	for name, begun := range map[string]string{
		"in its head": "POST /webhook/cognigy HTTP/1.1\r\nHost: loc",
		"in its body": "POST /webhook/cognigy HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n" + webhook,
	} {
		t.Run(name, func(t *testing.T) { expect(t, r.exchange(begun), 408, `{"detail":"The request came too slowly"}`) })
	}
	h.expectExecutions(0)
}

func TestAConnectionIsKeptForTheNextWebhook(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.open(options())
	c, err := dial(r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, body := range []string{webhook, `{`, webhook} { // a payload that is wrong says nothing against the connection
		if got := c.exchange(request("POST", "/webhook/cognigy", body)); got.status != 200 && got.status != 400 {
			t.Errorf("answer\n%v", got)
		}
	}
	if got := c.exchange(request("GET", "/webhook/cognigy", "")); got.status != 405 {
		t.Errorf("answer\n%v", got)
	}
}

// A connection may be kept for minutes after a large body and a large answer: neither of them stays in memory.
func TestAKeptConnectionHoldsNoLargeBodies(t *testing.T) {
	const connections, large = 40, 1 << 20
	h := onReal(t)
	r := h.openWith(options(), handler.Options{MaxBodyBytes: 2 * large}, func(*handler.Server) {})
	answer, err := logic.JSON(strings.Repeat("x", large-100))
	if err != nil {
		t.Fatal(err)
	}
	h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) { return answer, nil })
	body := webhook + strings.Repeat(" ", large)
	inUse := func() (bytes uint64) {
		var m runtime.MemStats
		for range 2 { // the contents of pools live through the first
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := inUse()
	for range connections {
		c, err := dial(r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := c.exchange(measured(body)); got.status != 200 {
			t.Fatalf("answer\n%.200v", got)
		}
	}
	h.eventually("less than a quarter is held", func() bool { return inUse() < before+connections*large/4 })
}

func TestAConnectionThatIsNotUsedIsClosed(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openWith(options(), handler.Options{}, func(s *handler.Server) {
		s.ReadTimeout, s.IdleTimeout = time.Hour, 100*time.Millisecond
	})
	c, err := dial(r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.exchange(measured(webhook)); got.status != 200 {
		t.Errorf("answer\n%v", got)
	}
	if n, err := c.read.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v, want the end", n, err)
	}
}

// A caller that waits for an answer before it sends a body that is too large gets the answer at once, also on a
// connection that was used.
func TestALaterBodyThatIsTooLargeIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	r := h.openWith(options(), handler.Options{}, func(s *handler.Server) { s.ReadTimeout = time.Hour })
	c, err := dial(r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.exchange(measured(webhook)); got.status != 200 {
		t.Errorf("answer\n%v", got)
	}
	length := fmt.Sprintf("Content-Length: %d\r\n", small+1)
	if got := c.exchange(posted("Expect: 100-continue\r\n"+length, "")); got.status != 413 {
		t.Errorf("answer\n%v", got)
	}
}

// The write timeout of one answer does not count against the next one.
func TestAConnectionThatWasKeptForLongIsAnswered(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	const writeTimeout = 500 * time.Millisecond
	r := h.openWith(options(), handler.Options{}, func(s *handler.Server) { s.WriteTimeout = writeTimeout })
	for what, next := range map[string]struct {
		request string
		status  int
	}{
		"with a webhook":                     {measured(webhook), 200},
		"with a body that must be asked for": {texts["after it was asked for"], 200},
		"with what is no HTTP":               {"rubbish\r\n\r\n", 400},
		"with a body that is too large":      {measured(strings.Repeat(" ", small+1)), 413},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, err := dial(r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := c.exchange(measured(webhook)); got.status != 200 {
				t.Errorf("answer\n%v", got)
			}
			time.Sleep(2 * writeTimeout)
			if got := c.exchange(next.request); got.status != next.status {
				t.Errorf("answer\n%v", got)
			}
		})
	}
}

// Payloads are private: no part of one may reach a log, at any level, whatever is wrong with it.
func TestPayloadsAreNotLogged(t *testing.T) {
	t.Parallel()
	const secret = "4111-1111-1111-1111"
	h := onReal(t)
	var lines lines
	o := shortPatience()
	o.Log = slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := h.openWith(o, handler.Options{}, func(s *handler.Server) { s.ReadTimeout = 2 * time.Second })
	inside := `{"dialogId":"` + secret + `","nodeId":"` + secret + `","sequence":7,"variables":{"card":"` + secret + `"}}`
	statuses := make(map[int]bool)
	send := func(text string) { statuses[r.exchange(text).status] = true }
	post := func(body string) { send(request("POST", "/webhook/cognigy", body, "X-Card: "+secret)) }

	post(inside)
	post(inside)
	post(inside[1:])
	post(strings.Replace(inside, `":7`, `":"`+secret+`"`, 1))
	post(strings.Repeat(inside, 1000))
	send(request("POST", "/webhook/"+secret, inside))
	send(request("PUT", "/webhook/cognigy", inside))
	send("POST /webhook/cognigy HTTP/1.1\r\nHost: localhost\r\n" + secret + "\r\n\r\n")
	send("POST /webhook/cognigy HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + secret + "\r\n\r\n")
	send("POST /webhook/cognigy HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n" + inside)
	send("POST /webhook/cognigy HTTP/1.1\r\nHost: localhost\r\nX-Card: " + strings.Repeat(secret, 2000) + "\r\n\r\n")
	send(secret + "\r\n\r\n")
	h.server.Kill()
	post(strings.Replace(inside, `":7`, `":8`, 1))

	for _, status := range []int{200, 400, 404, 405, 408, 413, 431, 503} {
		if !statuses[status] {
			t.Errorf("none of them was a %d", status)
		}
	}
	if logged := lines.String(); strings.Contains(logged, secret) || logged == "" {
		t.Errorf("logged: %s", logged)
	}
}

// lines is a log that a test can read.
type lines struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}
