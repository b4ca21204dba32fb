package e2e_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oncegate/oncegate/internal/proc"
)

// startBookings starts the example of a backend that honours keys, and returns its URL and the folder of its bookings.
func startBookings(t *testing.T) (url, dir string) {
	t.Helper()
	built := filepath.Join(t.TempDir(), "bookings")
	if out, err := exec.Command("go", "build", "-o", built, module+"/examples/bookings").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + port
	dir = t.TempDir()
	bookings := run(t, exec.Command(built, "-listen", address, "-dir", dir))
	if err := bookings.Await(t.Context(), proc.Listens(address)); err != nil {
		t.Fatal(err)
	}
	return "http://" + address + "/bookings", dir
}

// This test does the steps that docs/backend.md lets a reader try.
func TestTheExampleBooksOnceAlsoForAGatewayThatHasForgottenAll(t *testing.T) {
	url, _ := startBookings(t)
	env := []string{"UPSTREAM_URL=" + url, "UPSTREAM_STATUS_URL=" + url + "/{key}"}
	book := func(r *replica, sequence, seats int) answer {
		t.Helper()
		body := fmt.Sprintf(`{"dialogId":"d","nodeId":"n","sequence":%d,"variables":{"seats":%d}}`, sequence, seats)
		to := r.url + "/webhook/cognigy"
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		a, err := answerTo(request)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	r := start(t, env...)
	first := book(r, 1, 2)
	if first.Status != "success" || !strings.Contains(string(first.Data), `"seats":2`) {
		t.Errorf("the first answer is %+v", first)
	}
	if a := book(r, 1, 2); a.Status != "cached" || string(a.Data) != string(first.Data) {
		t.Errorf("a duplicate gets %+v, the booking is %s", a, first.Data)
	}
	r.signal(syscall.SIGTERM)
	r.exit()
	r = start(t, env...) // its embedded store is empty
	if a := book(r, 1, 2); a.Status != "success" || string(a.Data) != string(first.Data) {
		t.Errorf("after a restart the answer is %+v, the booking is %s", a, first.Data)
	}
	if a := book(r, 2, 0); a.code != http.StatusUnprocessableEntity || a.Status != "rejected" {
		t.Errorf("no seats are answered %+v", a)
	}
}
