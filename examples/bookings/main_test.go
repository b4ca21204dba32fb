package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/proc"
)

func TestThePageHasTheCode(t *testing.T) {
	code, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/backend.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, slices.Concat([]byte("```go\n"), code, []byte("```\n"))) {
		t.Error("docs/backend.md does not have examples/bookings/main.go as it is: copy it there")
	}
}

func start(t *testing.T) (url, dir string) {
	dir = t.TempDir()
	server := httptest.NewServer(newBackend(dir))
	t.Cleanup(server.Close)
	return server.URL, dir
}

type reply struct {
	status int
	body   string
}

func post(url, key string, body io.Reader) (r reply, err error) {
	request, err := http.NewRequest(http.MethodPost, url+"/bookings", body)
	if err != nil {
		return r, err
	}
	request.Header.Set("Idempotency-Key", key)
	return read(http.DefaultTransport.RoundTrip(request))
}

func get(url, key string) (reply, error) { return read(http.Get(url + "/bookings/" + key)) }

func read(response *http.Response, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, string(body)}, err
}

// key returns the nth one.
func key(n int) string { return fmt.Sprintf("%064x", n) }

func seats(n int) io.Reader {
	return strings.NewReader(fmt.Sprintf(`{"dialogId":"d","nodeId":"n","sequence":1,"variables":{"seats":%d}}`, n))
}

// expect returns a body that came with the status it should.
func expect(t *testing.T, status int) func(reply, error) string {
	return func(r reply, err error) string {
		t.Helper()
		if err != nil || r.status != status {
			t.Fatalf("the answer is %+v, %v; its status should be %d", r, err, status)
		}
		return r.body
	}
}

// asked gets a booking, as often as it is told that one is being made.
func asked(t *testing.T, url, key string) string {
	t.Helper()
	r, err := get(url, key)
	for end := time.Now().Add(30 * time.Second); r.status == 409 && time.Now().Before(end); {
		r, err = get(url, key)
	}
	return expect(t, 200)(r, err)
}

func TestAKeyBooksOnce(t *testing.T) {
	url, dir := start(t)
	expect(t, 404)(get(url, key(1)))
	booking := expect(t, 201)(post(url, key(1), seats(2)))
	var made struct {
		Booking string
		Seats   int
	}
	if err := json.Unmarshal([]byte(booking), &made); err != nil || made.Booking == "" || made.Seats != 2 {
		t.Errorf("the booking is %s, %v", booking, err)
	}
	for what, again := range map[string]string{
		"a second POST":      expect(t, 201)(post(url, key(1), seats(2))),
		"one that asks more": expect(t, 201)(post(url, key(1), seats(3))),
		"a GET":              asked(t, url, key(1)),
	} {
		if again != booking {
			t.Errorf("%s gets %s, the booking is %s", what, again, booking)
		}
	}
	if other := expect(t, 201)(post(url, key(2), seats(2))); other == booking {
		t.Error("another key gets the same booking")
	}
	server := httptest.NewServer(newBackend(dir)) // as after a restart
	defer server.Close()
	if after := asked(t, server.URL, key(1)); after != booking {
		t.Errorf("after a restart the booking is %s, it was %s", after, booking)
	}
}

func TestWhatMakesNoSenseBooksNothing(t *testing.T) {
	url, dir := start(t)
	expect(t, 422)(post(url, key(1), seats(0)))
	expect(t, 422)(post(url, key(1), strings.NewReader("seats")))
	// as a kill leaves it
	if err := os.WriteFile(filepath.Join(dir, key(1)+".json.new"), []byte(`{"boo`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, unknown := range []string{key(1), key(1) + ".json.new", "..%2Fmain"} {
		expect(t, 404)(get(url, unknown))
	}
}

func TestPostsOfOneKeyAtOnceBookOnce(t *testing.T) {
	url, dir := start(t)
	const posts, keys = 200, 5
	var replies [keys][posts]reply
	var sent sync.WaitGroup
	for k := range keys {
		for p := range posts {
			sent.Go(func() {
				var err error
				if replies[k][p], err = post(url, key(k), seats(p+1)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	sent.Wait()
	for k := range keys {
		for _, r := range replies[k] {
			if r.status != 201 || r != replies[k][0] {
				t.Fatalf("posts of one key get %+v and %+v", r, replies[k][0])
			}
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != keys {
		t.Errorf("%d keys have left %d files, %v", keys, len(files), err)
	}
}

func TestAKillLeavesAWholeBookingOrNone(t *testing.T) {
	const keys, senders = 400, 8
	program, dir := filepath.Join(t.TempDir(), "bookings"), t.TempDir()
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var mu sync.Mutex
	told := make(map[string]string) // the answer to each POST
	for round := range 6 {
		url, kill := startProcess(t, program, dir)
		var sent sync.WaitGroup
		for s := range senders {
			sent.Go(func() {
				for k := range keys {
					name := key((k + s/2*keys/4) % keys) // two send the same at the same time
					r, err := post(url, name, seats(1))
					if err != nil {
						return // it was killed
					}
					mu.Lock()
					if r.status != 201 || told[name] != "" && told[name] != r.body {
						t.Errorf("%+v, and before it was %s", r, told[name])
					}
					told[name] = r.body
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(1+round) * 8 * time.Millisecond)
		kill()
		sent.Wait()
	}
	t.Logf("%d bookings were told", len(told))
	url, _ := startProcess(t, program, dir)
	for k := range keys {
		r, err := get(url, key(k))
		switch {
		case err == nil && r.status == 404 && told[key(k)] == "":
		case err == nil && r.status == 200 && json.Valid([]byte(r.body)) && (told[key(k)] == "" || told[key(k)] == r.body):
		default:
			t.Fatalf("after the kills the answer is %+v, %v; told was %q", r, err, told[key(k)])
		}
	}
}

// startProcess starts the built program, and returns a function that ends it as kill -9 does.
func startProcess(t *testing.T, program, dir string) (url string, kill func()) {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + port
	p, err := proc.Start(exec.Command(program, "-listen", address, "-dir", dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if err := p.Await(t.Context(), proc.Listens(address)); err != nil {
		t.Fatal(err)
	}
	return "http://" + address, p.Kill
}
