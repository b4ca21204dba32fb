package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redistest"
)

// tokens is a token server that always hands out the same token.
type tokens struct {
	*httptest.Server
	fetched atomic.Int64
}

func startTokens(t *testing.T, token string) *tokens {
	s := &tokens{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, ok := r.BasicAuth()
		if !ok || id != "gate" || secret != "s3cret" || r.FormValue("grant_type") != "client_credentials" ||
			r.FormValue("scope") != "webhook:write dialog:write" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.fetched.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"bearer","expires_in":3600}`, token)
	}))
	t.Cleanup(s.Close)
	return s
}

// bookFirst is the body that send(1) sends.
const bookFirst = `{"dialogId":"d","nodeId":"n","sequence":1}`

func TestARetryStormBooksOnceAtTheBackend(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).URL()
	b := startBackend(t, 400*time.Millisecond)
	b.token = "t0ken"
	granted := startTokens(t, "t0ken")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := b.settings(redis, "UPSTREAM_OAUTH_TOKEN_URL="+granted.URL, "UPSTREAM_OAUTH_CLIENT_ID=gate",
		"UPSTREAM_OAUTH_CLIENT_SECRET_FILE="+secret, "UPSTREAM_OAUTH_SCOPES=webhook:write dialog:write")
	replicas := []*replica{start(t, env...), start(t, env...), start(t, env...)}
	if data := storm(t, replicas, 300, redis); len(data) < len(`{"booking":1}`) {
		t.Errorf("the answers have %s", data)
	}
	if calls := b.calls(); len(calls) != 1 || !strings.HasSuffix(calls[0], " 1  "+bookFirst) {
		t.Errorf("the backend was called so: %q", calls)
	}
	if n := granted.fetched.Load(); n != 1 {
		t.Errorf("%d tokens were fetched", n)
	}
	for _, r := range replicas {
		if strings.Contains(r.logs(), "s3cret") || strings.Contains(r.logs(), "t0ken") {
			t.Errorf("a secret is logged:\n%s", r.logs())
		}
	}
}

func TestABackendThatIsKilledInTheMiddleIsCalledAgainUnderItsKey(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]string{"asked before": "/book/{key}", "not asked": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t).URL()
			b := startBackend(t, time.Minute)
			env := b.settings(redis)
			if status != "" {
				env = append(env, "UPSTREAM_STATUS_URL=http://"+b.address+status)
			}
			r := start(t, env...)
			failed := make(chan answer, 1)
			go func() {
				a, err := r.send(1)
				if err != nil {
					t.Error(err)
				}
				failed <- a
			}()
			eventually(t, "the backend works", func() bool { return len(b.calls()) == 1 })
			b.kill()
			if a := <-failed; a.code != 500 {
				t.Errorf("whose booking was cut off gets %+v", a)
			}
			b.start(0)
			a, err := r.send(1)
			if err != nil || a.code != 200 || a.Status != "success" {
				t.Errorf("the retry gets %+v, %v\n%s", a, err, r.logs())
			}
			calls := b.calls()
			if len(calls) != 2 || calls[1] != strings.Replace(calls[0], " 1 ", " 2 ", 1) {
				t.Errorf("the backend was called so: %q", calls)
			}
		})
	}
}

func TestAReplicaThatIsKilledInTheMiddleBooksTwiceUnlessTheBackendIsAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status     string
		calls      int
		reconciled float64
	}{
		"asked":     {"/book/{key}", 1, 1},
		"not asked": {"", 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t).URL()
			b := startBackend(t, 500*time.Millisecond)
			env := b.settings(redis)
			if c.status != "" {
				env = append(env, "UPSTREAM_STATUS_URL=http://"+b.address+c.status)
			}
			dies, takes := start(t, env...), start(t, env...)
			go func() { _, _ = dies.send(1) }()
			eventually(t, "the backend works", func() bool { return len(b.calls()) == 1 })
			dies.signal(syscall.SIGKILL)
			key, _, _ := strings.Cut(b.calls()[0], " ")
			eventually(t, "it has booked", func() bool { return b.booked(key) != "" })
			first := b.booked(key)

			a, err := takes.send(1)
			if err != nil || a.code != 200 || a.Status != "success" {
				t.Errorf("the retry gets %+v, %v\n%s", a, err, takes.logs())
			}
			if calls := b.calls(); len(calls) != c.calls {
				t.Errorf("the backend was called so: %q", calls)
			}
			if same := string(a.Data) == first; same != (c.calls == 1) {
				t.Errorf("the first booking was %s, the answer has %s", first, a.Data)
			}
			eventually(t, "it is counted", func() bool {
				m := metrics(t, redis)
				return m["takeovers"] == 1. && m["stored"] == 1. && m["reconciled"] == c.reconciled
			})
		})
	}
}

func TestABackendThatFailsAllTheTimeIsLeftAlone(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).URL()
	b := startBackend(t, 0)
	r := start(t, b.settings(redis, "UPSTREAM_BREAKER_FAILURES=5", "UPSTREAM_BREAKER_PAUSE=30s")...)
	if a, err := r.send(0); err != nil || a.code != 200 {
		t.Fatalf("answer %+v, %v", a, err)
	}
	b.kill()
	for n := 1; n <= 20; n++ {
		a, err := r.send(n)
		if err != nil || a.code != 503 {
			t.Errorf("webhook %d gets %+v, %v", n, a, err)
		}
		if seconds, _ := strconv.Atoi(a.retryAfter); n > 5 && (seconds < 15 || seconds > 30) {
			t.Errorf("webhook %d is to come again after %q, the breaker is open for 30 s", n, a.retryAfter)
		}
	}
	if a, err := r.send(0); err != nil || a.Status != "cached" {
		t.Errorf("a duplicate of what was booked gets %+v, %v", a, err)
	}
	eventually(t, "it is counted", func() bool {
		m := metrics(t, redis)
		return m["executed"] == 6. && m["failed"] == 5. && m["refused"] == 15.
	})
	out, err := oncegate(os.Environ(), "stats", "--redis-url", redis).Output()
	if err != nil || !strings.Contains(string(out), "Backend: CIRCUIT BREAKER OPEN") {
		t.Errorf("stats print\n%s%v", out, err)
	}
}

func TestAPassedThroughAnswerIsTheBackends(t *testing.T) {
	redis := redistest.Start(t).URL()
	b := startBackend(t, 0)
	r := start(t, b.settings(redis, "RESPONSE_MODE=passthrough", "INBOUND_API_KEYS=the-key",
		"UPSTREAM_KEY_FORMAT=uuid")...)
	send := func(key string) *http.Response {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/webhook/cognigy",
			strings.NewReader(bookFirst))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-API-Key", key)
		request.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		reply, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = reply.Body.Close() })
		return reply
	}
	if reply := send("another-key"); reply.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the key the status is %d", reply.StatusCode)
	}
	var bookings []string
	for range 3 {
		reply := send("the-key")
		body, _ := io.ReadAll(reply.Body)
		bookings = append(bookings, string(body))
		if reply.StatusCode != http.StatusCreated || !json.Valid(body) || reply.Header.Get("Set-Cookie") != "" ||
			reply.Header.Get("Idempotency-Fingerprint") == "" {
			t.Errorf("status %d, headers %v, body %s", reply.StatusCode, reply.Header, body)
		}
	}
	if bookings[0] != bookings[1] || bookings[0] != bookings[2] {
		t.Errorf("answers differ: %q", bookings)
	}
	uuid := fingerprint.Of([]byte("d"), []byte("n"), 1).UUID()
	if calls := b.calls(); len(calls) != 1 || !strings.HasPrefix(calls[0],
		uuid+" 1 00-4bf92f3577b34da6a3ce929d0e0e4736-") {
		t.Errorf("the backend was called so: %q", calls)
	}
}

// The backend answers 409 while it works on a key, as many backends do that honour keys.
func TestARefusalToWaitForAnAttemptInDoubtIsNotKept(t *testing.T) {
	t.Parallel()
	var booking sync.Mutex
	booked := make(map[string]chan struct{}) // by key; closed when the booking is made
	var worked atomic.Int64
	refused := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		booking.Lock()
		done, known := booked[key]
		if !known {
			done = make(chan struct{})
			booked[key] = done
		}
		booking.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if known {
			select {
			case <-done:
			default:
				w.WriteHeader(http.StatusConflict)
				refused <- struct{}{}
				return
			}
		} else {
			<-refused
			<-refused
			worked.Add(1)
			close(done)
		}
		_, _ = fmt.Fprint(w, `{"booking":7}`)
	}))
	t.Cleanup(server.Close)
	r := start(t, "REDIS_URL="+redistest.Start(t).URL(), "UPSTREAM_URL="+server.URL, "EXECUTION_TIMEOUT=2s")
	var answers []int
	eventually(t, "the booking is told", func() bool {
		a, err := r.send(1)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a.code)
		return a.code == 200 && string(a.Data) == `{"booking":7}`
	})
	for _, code := range answers[:len(answers)-1] {
		if code != 500 {
			t.Errorf("meanwhile the answers are %d", answers)
			break
		}
	}
	if len(answers) < 3 || worked.Load() != 1 {
		t.Errorf("%d answers, %d bookings", len(answers), worked.Load())
	}
}

func TestCallersAreToldHowLongTheBackendWantsToRest(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		time.Sleep(300 * time.Millisecond) // duplicates join meanwhile
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(server.Close)
	r := start(t, "REDIS_URL="+redistest.Start(t).URL(), "UPSTREAM_URL="+server.URL)
	answers := make(chan answer)
	for range 5 {
		go func() {
			a, err := r.send(1)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	told := func(a answer) bool {
		seconds, _ := strconv.Atoi(a.retryAfter)
		return a.code == 503 && 45 <= seconds && seconds <= 60
	}
	for range 5 {
		if a := <-answers; !told(a) {
			t.Errorf("who waited gets %d, Retry-After %q", a.code, a.retryAfter)
		}
	}
	if a, err := r.send(2); err != nil || !told(a) {
		t.Errorf("another webhook gets %d, Retry-After %q, %v", a.code, a.retryAfter, err)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("the backend was called %d times", n)
	}
}

func TestWithStopAnAttemptInDoubtWaitsForTheBackendsWord(t *testing.T) {
	t.Parallel()
	var posts, status, found atomic.Int64
	status.Store(http.StatusInternalServerError)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /book", func(w http.ResponseWriter, r *http.Request) {
		posts.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(status.Load()))
		_, _ = fmt.Fprint(w, `{"booking":"new"}`)
	})
	mux.HandleFunc("GET /book/{key}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(found.Load()))
		_, _ = fmt.Fprint(w, `{"booking":"found"}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	r := start(t, "REDIS_URL="+redistest.Start(t).URL(), "IN_DOUBT=stop", "UPSTREAM_URL="+server.URL+"/book",
		"UPSTREAM_STATUS_URL="+server.URL+"/book/{key}", "EXECUTION_TIMEOUT=3s", "UPSTREAM_BREAKER_FAILURES=0")
	expect := func(webhook int, code int, told, data string, posted int64) {
		t.Helper()
		a, err := r.send(webhook)
		if err != nil || a.code != code || a.Status != told || string(a.Data) != data || posts.Load() != posted {
			t.Errorf("webhook %d gets %+v, %v after %d POSTs; want %d %s %s after %d", webhook, a, err, posts.Load(), code, told,
				data, posted)
		}
	}
	expect(1, 500, "", "", 1)
	expect(2, 500, "", "", 2)
	for _, unclear := range []int64{500, 401, 202, 409} {
		found.Store(unclear)
		expect(1, 500, "doubtful", "null", 2)
	}
	found.Store(http.StatusOK)
	expect(1, 200, "success", `{"booking":"found"}`, 2)
	expect(1, 200, "cached", `{"booking":"found"}`, 2)
	found.Store(http.StatusNotFound)
	status.Store(http.StatusCreated)
	expect(2, 200, "success", `{"booking":"new"}`, 3)
}
