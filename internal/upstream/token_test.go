package upstream_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/upstream"
)

// bank issues numbered tokens, and is the backend that accepts them.
type bank struct {
	life           int           // expires_in of the first token, 0: not told; those after it live for an hour
	hold           chan struct{} // if not nil, each fetch waits for it
	begun, fetches atomic.Int64
	posted         atomic.Int64
	executed       atomic.Int64
	least          atomic.Int64 // older tokens are not taken
	authorization  atomic.Value
}

func (b *bank) issue(w http.ResponseWriter, r *http.Request) {
	b.begun.Add(1)
	if b.hold != nil {
		_ = r.ParseForm() // only then the server notices that the caller leaves
		select {
		case <-b.hold:
		case <-r.Context().Done():
		}
	}
	w.Header().Set("Content-Type", record.JSON)
	number, life := b.fetches.Add(1), b.life
	if number > 1 {
		life = 3600
	}
	fmt.Fprintf(w, `{"access_token":"%s-%d","token_type":"bearer"`, secret, number)
	if life > 0 {
		fmt.Fprintf(w, `,"expires_in":%d`, life)
	}
	fmt.Fprint(w, `}`)
}

func (b *bank) take(w http.ResponseWriter, r *http.Request) {
	b.posted.Add(1)
	b.authorization.Store(r.Header.Get("Authorization"))
	var number int64
	_, _ = fmt.Sscanf(r.Header.Get("Authorization"), "Bearer "+secret+"-%d", &number)
	if number < max(1, b.least.Load()) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	b.executed.Add(1)
	fmt.Fprint(w, `x`)
}

func (b *bank) open(t *testing.T) *testbed {
	t.Helper()
	url := serve(t, b.take)
	return open(t, upstream.Options{URL: url, StatusURL: url, OAuth: credentials(serve(t, b.issue))})
}

func credentials(url string) *clientcredentials.Config {
	return &clientcredentials.Config{ClientID: "me", ClientSecret: secret, TokenURL: url + "/token?" + secret,
		Scopes: []string{"hooks"}}
}

// all executes n webhooks at once and returns how many failed.
func (h *testbed) all(n int) (failed int64) {
	var count atomic.Int64
	var running sync.WaitGroup
	for range n {
		running.Go(func() {
			if _, err := h.Execute(h.t.Context(), webhook()); err != nil {
				h.t.Log(err)
				count.Add(1)
			}
		})
	}
	running.Wait()
	return count.Load()
}

func TestExecutionsAtOnceShareOneToken(t *testing.T) {
	b := bank{life: 3600}
	h := b.open(t)
	equal(t, h.all(100), int64(0))
	equal(t, h.all(100), int64(0))
	equal(t, b.fetches.Load(), int64(1))
	equal(t, b.authorization.Load(), any("Bearer "+secret+"-1"))
}

func TestATokenWithoutAnEndIsKept(t *testing.T) {
	var b bank
	h := b.open(t)
	for range 3 {
		h.gives(webhook())
	}
	equal(t, b.fetches.Load(), int64(1))
}

func TestATokenGoesShortlyBeforeItsEnd(t *testing.T) {
	t.Parallel()
	b := bank{life: 2}
	h := b.open(t)
	start := time.Now()
	h.gives(webhook())
	due := time.Now().Add(1500 * time.Millisecond)
	for ; b.fetches.Load() == 1; time.Sleep(5 * time.Millisecond) {
		sent := time.Now()
		h.gives(webhook())
		if b.fetches.Load() == 1 && sent.After(due) {
			t.Fatalf("a token for 2 s was used after %v", sent.Sub(start))
		}
	}
	if took := time.Since(start); took < 1400*time.Millisecond {
		t.Errorf("a token for 2 s was replaced after %v", took)
	}
	equal(t, h.all(100), int64(0))
	equal(t, b.fetches.Load(), int64(2))
}

func TestARefusedTokenIsReplacedOnceAndTheWebhookSentAgain(t *testing.T) {
	var b bank
	b.least.Store(2)
	h := b.open(t)
	equal(t, string(h.gives(webhook()).Body), "x")
	equal(t, []int64{b.fetches.Load(), b.posted.Load(), b.executed.Load()}, []int64{2, 2, 1})

	b.least.Store(3)
	equal(t, string(h.gives(doubtful()).Body), "x") // also when the backend is asked
	equal(t, []int64{b.fetches.Load(), b.posted.Load(), b.executed.Load()}, []int64{3, 4, 2})
}

func TestASecondRefusalIsFinal(t *testing.T) {
	var b bank
	b.least.Store(1000)
	h := b.open(t)
	equal(t, h.gives(webhook()).Status, 401)
	equal(t, []int64{b.fetches.Load(), b.posted.Load()}, []int64{2, 2})
	h.fails(t.Context(), doubtful(), unknown, unasked)
}

func TestAStormOfRefusalsFetchesFewTokens(t *testing.T) {
	b := bank{life: 3600}
	h := b.open(t)
	h.gives(webhook())
	b.least.Store(2)
	equal(t, h.all(100), int64(0))
	equal(t, b.fetches.Load(), int64(2))
	equal(t, b.executed.Load(), int64(101))
}

func TestAWaiterForATokenLeavesWithItsOwnContextAndTheFetchGoesOn(t *testing.T) {
	b := bank{hold: make(chan struct{})}
	h := b.open(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		eventually(t, "the fetch is under way", func() bool { return b.begun.Load() == 1 })
		cancel(logic.ErrTimeout)
	}()
	h.cutOff(ctx, webhook(), refused)
	got := make(chan error, 1)
	go func() {
		_, err := h.Execute(t.Context(), webhook())
		got <- err
	}()
	close(b.hold)
	if err := <-got; err != nil {
		t.Error(err)
	}
	equal(t, b.fetches.Load(), int64(1)) // the one that the first waiter began
}

func TestCloseEndsAFetch(t *testing.T) {
	b := bank{hold: make(chan struct{})}
	h := b.open(t)
	got := make(chan error, 1)
	go func() {
		_, err := h.Execute(t.Context(), webhook())
		got <- err
	}()
	eventually(t, "the fetch is under way", func() bool { return b.begun.Load() == 1 })
	h.Close()
	if err := <-got; err == nil {
		t.Error("it got a token")
	}
}

func TestWithoutATokenNothingIsSentAndNothingIsTold(t *testing.T) {
	elsewhere := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("followed to %s", r.URL) })
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		tells  string
	}{
		"refused with a code": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", record.JSON)
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"%s"}`, secret)
		}, "400, invalid_client"},
		"refused with another code": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", record.JSON)
			w.WriteHeader(401)
			fmt.Fprintf(w, `{"error":"%s"}`, secret)
		}, "401"},
		"refused with text": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, secret,
				http.StatusServiceUnavailable)
		}, "503"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", record.JSON)
			fmt.Fprint(w, secret)
		}, "not one of OAuth 2.0"},
		"no token": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "a=%s", secret) },
			"not one of OAuth 2.0"},
		"the connection ends": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "can't be reached"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
		}, "307"},
	} {
		t.Run(name, func(t *testing.T) {
			var p patient
			h := open(t, upstream.Options{URL: serve(t, p.serve), OAuth: credentials(serve(t, c.answer)), BreakerFailures: 1,
				BreakerPause: long})
			if text := h.fails(t.Context(), webhook(), refused); !strings.Contains(text, c.tells) {
				t.Errorf("error %s", text)
			}
			h.fails(t.Context(), doubtful(), refused)
			equal(t, p.requests.Load(), int64(0))
			equal(t, h.admits(), true) // no fault of the backend's
		})
	}
}

func TestTheTokensEndpointGetsTheCredentialsAndNoHeaderOfTheBackends(t *testing.T) {
	forms := make(chan url.Values, 1)
	var b bank
	h := open(t, upstream.Options{URL: serve(t, b.take),
		OAuth: credentials(serve(t, func(w http.ResponseWriter, r *http.Request) {
			if id, password, _ := r.BasicAuth(); id != "me" || password != secret || r.Header.Get("Idempotency-Key") != "" {
				t.Errorf("asked with %v", r.Header)
			}
			_ = r.ParseForm()
			forms <- r.PostForm
			b.issue(w, r)
		}))})
	h.gives(webhook())
	equal(t, <-forms, url.Values{"grant_type": {"client_credentials"}, "scope": {"hooks"}})
}
