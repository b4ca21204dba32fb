package upstream_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/upstream"
)

// secret is put in every place whose content must not reach a log.
const secret = "s3cret"

const maxResultBytes = 1 << 16

var (
	key     = fingerprint.Of([]byte("d"), []byte("n"), 7)
	unknown = logic.ErrOutcomeUnknown
	refused = logic.ErrRefused
	unasked = logic.ErrUnasked
)

// TestMain checks that no test leaves a goroutine running.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // a fuzzer has goroutines of its own
	}
	for deadline := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			fmt.Println("goroutines are left:")
			_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
			code = 1
			break
		}
	}
	os.Exit(code)
}

// testbed is a forwarder under test with its log.
type testbed struct {
	*upstream.Upstream
	t   *testing.T
	log *lines
}

func open(t *testing.T, o upstream.Options) *testbed {
	t.Helper()
	h := &testbed{t: t, log: &lines{}}
	if o.MaxResultBytes == 0 {
		o.MaxResultBytes = maxResultBytes
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = time.Minute
	}
	o.Log = slog.New(slog.NewTextHandler(h.log, nil))
	u, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	h.Upstream = u
	return h
}

func webhook() logic.Webhook {
	return logic.Webhook{Body: []byte(`{"dialogId":"d","token":"` + secret + `"}`), Fingerprint: key, Attempt: 1}
}

func doubtful() logic.Webhook {
	w := webhook()
	w.Attempt, w.InDoubt = 2, true
	return w
}

// gives executes a webhook and returns the result.
func (h *testbed) gives(w logic.Webhook) logic.Result {
	h.t.Helper()
	r, err := h.Execute(h.t.Context(), w)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := r.Check(); err != nil {
		h.t.Errorf("a record can't hold the result: %v", err)
	}
	return r
}

// fails executes a webhook and returns the text of its error. The error must be of exactly these kinds, and must show
// no secret.
func (h *testbed) fails(ctx context.Context, w logic.Webhook, kinds ...error) string {
	h.t.Helper()
	r, err := h.Execute(ctx, w)
	if err == nil {
		h.t.Fatalf("got %d %q", r.Status, r.Body)
	}
	if cause := context.Cause(ctx); !errors.Is(err, cause) && cause != nil {
		h.t.Errorf("error %q does not wrap why the context ended: %q", err, cause)
	}
	for _, kind := range []error{unknown, refused, unasked} {
		want := slices.Contains(kinds, kind)
		if errors.Is(err, kind) != want {
			h.t.Errorf("error %q: is it %q? want %v", err, kind, want)
		}
	}
	if text := err.Error() + h.log.String(); strings.Contains(text, secret) || strings.Contains(text, "?") {
		h.t.Errorf("it tells what nobody may read: %s", text)
	}
	return err.Error()
}

// admits reports whether an execution may be tried.
func (h *testbed) admits() bool {
	_, ok := h.Admit()
	return ok
}

// cutOff is like fails for an execution that runs until its context ends: the error must also wrap the cause.
func (h *testbed) cutOff(ctx context.Context, w logic.Webhook, kinds ...error) {
	h.t.Helper()
	if text := h.fails(ctx, w, kinds...); ctx.Err() == nil {
		h.t.Errorf("it did not go on: %s", text)
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// serve starts a backend.
func serve(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(answer)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// raw starts a backend whose answers the test writes byte by byte. A connection ends when serve returns.
func raw(t *testing.T, serve func(c net.Conn, requests *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ending, end := context.WithCancel(context.Background())
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer context.AfterFunc(ending, func() { c.Close() })()
				defer c.Close()
				serve(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		end()
		running.Wait()
	})
	return "http://" + l.Addr().String()
}

// took reports whether a whole request was read.
func took(requests *bufio.Reader) bool {
	r, err := http.ReadRequest(requests)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err == nil
}

// says starts a backend that answers each request with the same bytes and closes the connection.
func says(t *testing.T, answer string) string {
	t.Helper()
	return raw(t, func(c net.Conn, requests *bufio.Reader) {
		if took(requests) {
			fmt.Fprint(c, answer)
		}
	})
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestOptionsThatCanNotWorkAreRefusedAndNotQuoted(t *testing.T) {
	good := upstream.Options{URL: "http://backend", MaxResultBytes: 1}
	for name, spoil := range map[string]func(*upstream.Options){
		"no URL":             func(o *upstream.Options) { o.URL = "" },
		"another scheme":     func(o *upstream.Options) { o.URL = "ftp://backend/" + secret },
		"no host":            func(o *upstream.Options) { o.URL = "http:///" + secret },
		"user info":          func(o *upstream.Options) { o.URL = "http://me:" + secret + "@backend" },
		"not a URL":          func(o *upstream.Options) { o.URL = "http://backend/%" + secret },
		"status URL":         func(o *upstream.Options) { o.StatusURL = "{key}/" + secret },
		"no room":            func(o *upstream.Options) { o.MaxResultBytes = 0 },
		"negative failures":  func(o *upstream.Options) { o.BreakerFailures = -1 },
		"negative idle time": func(o *upstream.Options) { o.IdleTimeout = -1 },
		"pause without time": func(o *upstream.Options) { o.BreakerFailures = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			spoil(&o)
			if _, err := upstream.New(o); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("error %v", err)
			}
		})
	}
	u, err := upstream.New(good)
	if err != nil {
		t.Fatal(err)
	}
	u.Close()
}

func ExampleUpstream() {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", record.JSON)
		fmt.Fprintf(w, `{"seen":"attempt %s"}`, r.Header.Get("Idempotency-Attempt"))
	}))
	defer backend.Close()
	u, err := upstream.New(upstream.Options{URL: backend.URL, MaxResultBytes: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer u.Close()
	result, err := u.Execute(context.Background(), logic.Webhook{Body: []byte(`{}`), Attempt: 1})
	fmt.Println(result.Status, string(result.Body), err)
	// Output: 200 {"seen":"attempt 1"} <nil>
}
