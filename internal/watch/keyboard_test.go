package watch_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/upstream"
)

// press presses a key, such as \t or \r, in the page.
func (w *window) press(key string) {
	w.t.Helper()
	w.do(chromedp.KeyEvent(key))
}

// tabTo presses Tab until the element has the focus that an expression describes. Every element that can be reached
// must show the focus.
func (w *window) tabTo(what, isIt string) {
	w.t.Helper()
	for range 50 {
		w.press("\t")
		if w.js(`document.activeElement.matches(":focus-visible")`) != "true" {
			continue // between the page's end and its beginning
		}
		if w.js(`shown()`, focusIsShown...) != "true" {
			w.t.Errorf("nothing shows that %s has the focus", w.js(`document.activeElement.outerHTML`))
		}
		if w.js(isIt) == "true" {
			return
		}
	}
	w.t.Fatalf("Tab does not reach %s", what)
}

// focusIsShown tells whether the element that has the focus looks so.
var focusIsShown = []string{`function shown() {
	const s = getComputedStyle(document.activeElement);
	return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0;
}`}

// TestThePagesWorkByKeyboardAlone: Tab reaches everything that can be used, in the order on the page, and a link keeps
// the focus while the page is redrawn. A webhook is forgotten after a question, and not before it.
func TestThePagesWorkByKeyboardAlone(t *testing.T) {
	t.Parallel()
	fails := true
	r := start(t, logic.Func(func(context.Context, logic.Webhook) (logic.Result, error) {
		if fails {
			return logic.Result{}, errors.New("it failed")
		}
		return logic.JSON(true)
	}), func(*config.Config) {})
	r.post("fails", 1)
	fails = false
	r.storm("storm", 20)
	w := openWindow(t)
	w.do(sized(1280, 860, "light"), chromedp.Navigate(r.admin+"/"))
	w.shows("#hot", "19")
	w.shows("#failures", "error")

	const usable = `[...document.querySelectorAll("a[href], button, input, summary")].filter((e) => e.checkVisibility())`
	number := w.js(usable + `.length`)
	for i := range 50 {
		w.press("\t")
		if fmt.Sprint(i) == number {
			break
		}
		if at := w.js(usable + `.indexOf(document.activeElement)`); at != fmt.Sprint(i) {
			t.Fatalf("Tab %d of %s leads to element %s", i+1, number, at)
		}
	}

	w.do(chromedp.Navigate(r.admin + "/"))
	w.shows("#hot", "19")
	w.tabTo("how far back", `document.activeElement.dataset.span === "900"`)
	w.press(" ")
	if pressed := w.js(`document.querySelector('[data-span="900"]').getAttribute("aria-pressed")`); pressed != "true" {
		t.Error("the space bar does not press a button")
	}
	onStorm := `document.activeElement.closest("#hot") !== null`
	w.tabTo("the webhook of the storm", onStorm)
	r.storm("storm", 20)
	w.shows("#hot", "39")
	if w.js(onStorm) != "true" {
		t.Error("the link has lost the focus to a new state")
	}
	w.press("\r")
	w.shows("h1", "A webhook")
	w.shows("dl", "gets this result, without an execution")
	hidden := `document.querySelector("#forget").checkVisibility()`
	w.tabTo("Forget…", `document.activeElement.matches("details.forget summary")`)
	if w.js(hidden) != "false" {
		t.Error("forgetting is one key away: nobody was asked")
	}
	w.press("\r")
	eventually(t, "it asks", func() bool { return w.js(hidden) == "true" })
	w.tabTo("the answer to the question", `document.activeElement.id === "forget"`)
	w.press("\r")
	w.shows(".strip.well", "Forgotten.")
	w.shows("dl", "forgotten")

	f := fingerprint.Of([]byte("d"), []byte("fails"), 1)
	w.do(chromedp.Navigate(r.admin + "/"))
	w.shows("#link", "live")
	w.tabTo("where a fingerprint is typed", `document.activeElement.name === "fingerprint"`)
	w.press(f.Hex() + "\r")
	w.shows("dl", "executes it as attempt 2")
	w.expectQuiet(r.admin)
}

// TestABackendThatGetsNoRequestsTurnsTheStrip, and the strip says what to do, until the backend answers.
func TestABackendThatGetsNoRequestsTurnsTheStrip(t *testing.T) {
	t.Parallel()
	status := make(chan int, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		code := <-status
		status <- code
		w.WriteHeader(code)
	}))
	defer backend.Close()
	status <- http.StatusInternalServerError
	u, err := upstream.New(upstream.Options{
		URL: backend.URL, MaxResultBytes: 1 << 20, BreakerFailures: 2, BreakerPause: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	r := start(t, u, func(*config.Config) {})
	w := openWindow(t)
	w.do(sized(1280, 860, "dark"), chromedp.Navigate(r.admin+"/"))
	w.shows("#verdicts", "All is well.")
	w.shows("#backend", "closed")
	for i := range 2 {
		r.post("fails", i)
	}
	w.shows("#verdicts .bad", "The backend gets no requests")
	w.shows("#verdicts .bad", "Look at the backend. A probe is sent")
	w.shows("#backend", "open on 1 replica")
	w.picture("breaker-open")
	<-status
	status <- http.StatusOK
	eventually(t, "a probe succeeds", func() bool { return r.post("probe", 1) == http.StatusOK })
	w.shows("#backend", "closed")
	w.shows("#verdicts", "All is well.")
	w.expectQuiet(r.admin)
}
