package faults_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// webhook is a payload as the callers send it and the backend reads it. It says itself how long its execution takes,
// and how many of its executions fail.
type webhook struct {
	DialogID  string `json:"dialogId"`
	NodeID    string `json:"nodeId"`
	Sequence  int    `json:"sequence"`
	Variables plan   `json:"variables"`
}

type plan struct {
	Takes int `json:"takes"` // ms
	Fails int `json:"fails"` // number of executions that fail before one succeeds
}

func (w webhook) name() string { return w.DialogID + "/" + strconv.Itoa(w.Sequence) }

// backend executes webhooks. It records when each execution began and ended, and gives each a result of its own. It
// ignores the idempotency key: a webhook that comes twice is executed twice.
type backend struct {
	*httptest.Server
	history *history
	mood    atomic.Int64 // of type mood

	mu    sync.Mutex
	tries map[string]int
}

// mood is a state of the whole backend.
type mood int64

const (
	well  mood = iota
	sick       // it answers 500
	slow       // every execution takes half a second longer
	drops      // it executes, and closes the connection instead of answering
)

func startBackend(t *testing.T, h *history) *backend {
	b := &backend{history: h, tries: make(map[string]int)}
	b.Server = httptest.NewServer(http.HandlerFunc(b.execute))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) execute(w http.ResponseWriter, r *http.Request) {
	var hook webhook
	if err := json.NewDecoder(r.Body).Decode(&hook); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e := &execution{hook: hook.name()}
	e.attempt, _ = strconv.ParseInt(r.Header.Get("Idempotency-Attempt"), 10, 64)
	_, _ = fmt.Sscanf(r.Header.Get("X-Replica"), "%d.%d", &e.by.replica, &e.by.number)
	b.history.begins(e)

	m, takes := mood(b.mood.Load()), time.Duration(hook.Variables.Takes)*time.Millisecond
	if m == slow {
		takes += 500 * time.Millisecond
	}
	timer := time.NewTimer(takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		b.history.ends(e, cut, "")
		return
	}
	b.mu.Lock()
	b.tries[e.hook]++
	fails := b.tries[e.hook] <= hook.Variables.Fails
	b.mu.Unlock()
	switch {
	case m == drops:
		b.history.ends(e, failed, "")
		panic(http.ErrAbortHandler)
	case m == sick, fails:
		b.history.ends(e, failed, "")
		w.WriteHeader(http.StatusInternalServerError)
	default:
		data := fmt.Sprintf(`{"hook":%q,"attempt":%d,"by":%q,"at":%d}`, e.hook, e.attempt, e.by, b.history.now())
		b.history.ends(e, done, data)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(data))
	}
}
