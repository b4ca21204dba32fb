package load_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/bench/load"
)

// server answers like a contender and counts how often each sequence came.
func server(t *testing.T) (address string, came func() map[int64]int) {
	var lock sync.Mutex
	counts := map[int64]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var webhook struct{ Sequence int64 }
		if r.URL.Path != load.Path || json.NewDecoder(r.Body).Decode(&webhook) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		lock.Lock()
		defer lock.Unlock()
		counts[webhook.Sequence]++
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), func() map[int64]int {
		lock.Lock()
		defer lock.Unlock()
		return counts
	}
}

func TestAWorkloadSendsEachWebhookAsOftenAsItSays(t *testing.T) {
	for workload, want := range map[load.Workload]int{load.Storm: 121, load.Retries: 3, load.FirstTime: 1} {
		t.Run(string(workload), func(t *testing.T) {
			address, came := server(t)
			crowd, err := load.Gather(t.Context(), []string{address}, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer crowd.Close()
			outcome, err := crowd.Drive(t.Context(), workload, new(load.Sequences), load.Limit{Time: time.Minute, Requests: 120})
			if err != nil {
				t.Fatal(err)
			}
			if outcome.Requests != 120 || outcome.Errors != 0 || len(came()) != (120+want-1)/want {
				t.Errorf("%d requests, %d errors, %d webhooks", outcome.Requests, outcome.Errors, len(came()))
			}
			for sequence, times := range came() {
				if times != want {
					t.Errorf("%d came %d times, want %d", sequence, times, want)
				}
			}
		})
	}
}

func TestAServerThatHangsUpIsAnError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	crowd, err := load.Gather(t.Context(), []string{listener.Addr().String()}, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer crowd.Close()
	if _, err := crowd.Drive(t.Context(), load.Storm, new(load.Sequences),
		load.Limit{Time: time.Minute, Requests: 9}); err == nil {
		t.Error("nothing was answered, and that is no error")
	}
}
