package deploy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
)

// released returns the program of the last release. Before the first one it is that of the last commit.
func released(t *testing.T) (program string) {
	t.Helper()
	git := func(args ...string) (string, error) {
		command := exec.Command("git", args...)
		command.Dir = ".."
		out, err := command.Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("describe", "--tags", "--abbrev=0", "--match", "v*")
	if err != nil {
		commit = "HEAD"
	}
	root, err := git("rev-parse", "--show-toplevel")
	if err != nil {
		t.Fatalf("this test needs the history: %v", err)
	}
	source := filepath.Join(t.TempDir(), "source")
	for _, args := range [][]string{
		{"git", "clone", "--quiet", "--shared", root, source},
		{"git", "-C", source, "checkout", "--quiet", commit},
		{"go", "-C", source, "build", "-o", source, "."},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	t.Logf("the last release is %s", commit)
	return filepath.Join(source, "oncegate")
}

// TestAnUpgradeAndItsRollbackExecuteEachWebhookOnce rolls two gateways on one Redis from the last release to today's
// build and back, under load: no delivery fails, each webhook is executed once, and either build answers with the
// results that the other one stored.
func TestAnUpgradeAndItsRollbackExecuteEachWebhookOnce(t *testing.T) {
	t.Parallel()
	before := released(t)
	var mu sync.Mutex
	executed := make(map[string]int) // by the key that the backend gets
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		executed[r.Header.Get("Idempotency-Key")]++
		mu.Unlock()
		time.Sleep(50 * time.Millisecond) // the second delivery meets the first one's execution
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{}`)
	}))
	defer server.Close()

	redis := redistest.Start(t).URL()
	var gateways []*gateway
	var addresses []string
	for range 2 {
		g := startGateway(t, before, "REDIS_URL="+redis, "DRAIN_DELAY=500ms", "UPSTREAM_URL="+server.URL)
		gateways, addresses = append(gateways, g), append(addresses, g.address)
	}
	url := startNginxAt(t, "127.0.0.1:"+freePort(t), addresses)
	webhooks := startLoad(t, url, 50)
	for _, build := range []string{program, before} {
		for _, g := range gateways {
			webhooks.await(t, 50) // while both builds run beside each other
			first := webhooks.answered() / 2
			g.stop()
			webhooks.await(t, 25)
			g.start(build)
			if status, body := post("http://"+g.address, fmt.Sprintf("load-%d", first-15)); status != "200 OK" ||
				!strings.Contains(body, `"status":"cached"`) {
				t.Errorf("what the other build stored is answered %s %s", status, body)
			}
		}
	}
	sent, failed := webhooks.end()
	if failed > 0 {
		t.Errorf("%d of %d failed: %v", failed, sent, webhooks.answers)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := (sent + 1) / 2; len(executed) != want {
		t.Errorf("%d webhooks were executed, want %d", len(executed), want)
	}
	for key, times := range executed {
		if times != 1 {
			t.Errorf("%s was executed %d times", key, times)
		}
	}
}
