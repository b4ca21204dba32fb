package demo_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/dashboard"
	"github.com/oncegate/oncegate/internal/demo"
)

// said is a demo's output, which can be read while the demo runs.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

var page = regexp.MustCompile(`Watch a storm being absorbed: +(http://\S+)`)

func TestADemoShowsAStormBeingAbsorbed(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out said
	ended := make(chan error, 1)
	began := time.Now()
	go func() {
		c := config.Default()
		c.Admin.Listen = "127.0.0.1:0"
		ended <- demo.Run(ctx, c, "test", false, &out, slog.New(slog.DiscardHandler))
	}()
	for end := began.Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no storm was seen; it said:\n%s", out.String())
		}
		at := page.FindStringSubmatch(out.String())
		if at == nil {
			continue
		}
		if w := state(t, at[1]).Window; w.Deliveries >= 400 && w.Executions > 0 {
			if w.Executions > w.Deliveries/10 {
				t.Errorf("of %d deliveries %d were executed", w.Deliveries, w.Executions)
			}
			t.Logf("a storm of %d deliveries, %d executed, was seen after %v", w.Deliveries, w.Executions, time.Since(began))
			break
		}
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it did not end")
	}
}

func state(t *testing.T, at string) (s dashboard.State) {
	reply, err := http.Get(at + "state")
	if err != nil {
		return s
	}
	defer func() { _ = reply.Body.Close() }()
	if err := json.NewDecoder(reply.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}
