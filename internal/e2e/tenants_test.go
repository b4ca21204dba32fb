package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oncegate/oncegate/internal/redistest"
)

// of sends a tenant's webhook with a key.
func (r *replica) of(tenant, key string, sequence int) answer {
	r.t.Helper()
	body := fmt.Sprintf(`{"dialogId":"d","nodeId":"n","sequence":%d,"variables":{"seats":2}}`, sequence)
	request, err := http.NewRequest(http.MethodPost, r.url+"/t/"+tenant, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("X-API-Key", key)
	a, err := answerTo(request)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// settingsFile writes a file of settings, or writes it anew.
func settingsFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTheSignalForSettingsCutsNoExecutionOff of a program that is about to end.
func TestTheSignalForSettingsCutsNoExecutionOff(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).URL()
	path := filepath.Join(t.TempDir(), "oncegate.yaml")
	settingsFile(t, path, "echo_delay: 6s\n")
	r := start(t, "REDIS_URL="+redis, "SETTLE=0s", "CONFIG="+path)
	answered := r.executing(redis)
	r.signal(syscall.SIGTERM)
	eventually(t, "it ends", func() bool { return strings.Contains(r.logs(), "shutting down") })
	r.signal(syscall.SIGHUP)
	if a := <-answered; a.Status != "success" {
		t.Errorf("answer %+v", a)
	}
	if code := r.exit(); code != 0 {
		t.Errorf("exit status %d:\n%s", code, r.logs())
	}
}

func TestSettingsAreReadAgainAtASignalAndWhenAFileChanges(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).URL()
	path, keys := filepath.Join(t.TempDir(), "oncegate.yaml"), filepath.Join(t.TempDir(), "keys")
	settingsFile(t, keys, "first\n")
	settingsFile(t, path, "tenants:\n  acme: {api_keys_file: "+keys+"}\n  gone: {open: true}\n")
	r := start(t, "REDIS_URL="+redis, "SETTLE=0s", "METRICS_FLUSH=50ms", "CONFIG="+path)
	if a, gone := r.of("acme", "first", 1), r.of("gone", "", 1); a.code != 200 || gone.code != 200 {
		t.Fatalf("at first: %+v, %+v", a, gone)
	}
	settingsFile(t, path, "tenants:\n  acme: {api_keys_file: "+keys+"}\n  new: {open: true}\n")
	r.signal(syscall.SIGHUP)
	eventually(t, "a new tenant is there after the signal", func() bool { return r.of("new", "", 1).code == 200 })
	if a := r.of("gone", "", 1); a.code != 404 {
		t.Errorf("a tenant that is gone: %+v", a)
	}
	if a := r.of("acme", "first", 1); a.Status != "cached" {
		t.Errorf("what was done before the signal: %+v", a)
	}
	settingsFile(t, keys, "second\n") // nobody sends a signal
	eventually(t, "another key opens", func() bool { return r.of("acme", "second", 1).code == 200 })
	if a := r.of("acme", "first", 1); a.code != 401 {
		t.Errorf("the key before: %+v", a)
	}
	settingsFile(t, path, "tenants:\n  acme: {api_key: planted}\n")
	r.signal(syscall.SIGHUP)
	eventually(t, "it is counted that a file was not taken", func() bool {
		return metrics(t, redis)["reloads_failed"] == 1.0
	})
	if a := r.of("acme", "second", 1); a.code != 200 {
		t.Errorf("after a file that makes no sense: %+v", a)
	}
	said := r.logs()
	if n := strings.Count(said, "the new settings were not taken"); n != 1 ||
		!strings.Contains(said, path+":2:10: api_key is no setting") || strings.Contains(said, "planted") {
		t.Errorf("it was said %d times:\n%s", n, said)
	}
	r.signal(syscall.SIGTERM)
	if status := r.exit(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, r.logs())
	}
}

// TestANoisyTenantAndFLUSHALL: however much the noisy one's results are, those of the quiet one are put back.
func TestANoisyTenantAndFLUSHALL(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	path := filepath.Join(t.TempDir(), "oncegate.yaml")
	settingsFile(t, path, "max_result_bytes: 4KiB\njournal_bytes: 32KiB\nmetrics_flush: 50ms\n"+
		"tenants:\n  quiet: {api_keys: [q]}\n  noisy: {api_keys: [n]}\n")
	r := start(t, "REDIS_URL="+server.URL(), "CONFIG="+path)
	const quiet, noisy = 10, 300
	var before [quiet]answer
	for n := range before {
		if before[n] = r.of("quiet", "q", n); before[n].Status != "success" {
			t.Fatalf("at first: %+v", before[n])
		}
	}
	for n := range noisy {
		if a := r.of("noisy", "n", n); a.Status != "success" {
			t.Fatalf("the noisy one's: %+v", a)
		}
	}
	redistest.Do(t, redistest.Client(t, server.Addr()), "FLUSHALL")
	eventually(t, "what the journal has is put back", func() bool {
		restored, _ := metrics(t, server.URL())["restored"].(float64)
		return restored >= quiet
	})
	other := start(t, "REDIS_URL="+server.URL(), "CONFIG="+path) // it knows only what Redis has
	for n, first := range before {
		if a := other.of("quiet", "q", n); a.Status != "cached" || string(a.Data) != string(first.Data) {
			t.Errorf("webhook %d is answered %+v, and was %+v", n, a, first)
		}
	}
	again := 0
	for n := range noisy {
		if other.of("noisy", "n", n).Status == "success" {
			again++
		}
	}
	if again == 0 {
		t.Error("the journal had room for all that the noisy one did: this shows nothing")
	}
}

// TestTwoTenantsBookTwiceAtOneBackend: it honours keys, and the same webhook of two tenants has two.
func TestTwoTenantsBookTwiceAtOneBackend(t *testing.T) {
	t.Parallel()
	backend, dir := startBookings(t)
	path := filepath.Join(t.TempDir(), "oncegate.yaml")
	settingsFile(t, path, "settle: 0s\nupstream: {url: "+backend+", status_url: '"+backend+"/{key}'}\n"+
		"tenants:\n  acme: {api_keys: [a]}\n  beta: {api_keys: [b]}\n")
	r := start(t, "REDIS_URL="+redistest.Start(t).URL(), "CONFIG="+path)
	booked := map[string]string{}
	for range 2 {
		for _, tenant := range []string{"acme", "beta"} {
			a := r.of(tenant, tenant[:1], 7)
			if a.code != 201 && a.code != 200 || len(a.Data) < 10 {
				t.Fatalf("%s: %+v", tenant, a)
			}
			if first, again := booked[tenant]; again && (a.Status != "cached" || string(a.Data) != first) {
				t.Errorf("%s has %s, and again %+v", tenant, first, a)
			}
			booked[tenant] = string(a.Data)
		}
	}
	if booked["acme"] == booked["beta"] {
		t.Errorf("both have one booking: %s", booked["acme"])
	}
	if kept, err := os.ReadDir(dir); err != nil || len(kept) != 2 {
		t.Errorf("the backend has %v, %v", kept, err)
	}
}
