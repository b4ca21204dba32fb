package watch_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redistest"
)

// window is a browser's, with all that it complained of and all that it asked for.
type window struct {
	t   testing.TB
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	asked      []string
}

func openWindow(t testing.TB) *window {
	t.Helper()
	w := &window{t: t, ctx: newBrowser(t)}
	w.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		return err
	}))
	if err := chromedp.Listen(w.ctx, w.hear); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *window) hear(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		w.complaints = append(w.complaints, e.ExceptionDetails.Text)
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelVerbose || strings.Contains(e.Entry.Text, "willReadFrequently") {
			return // of no harm; the test itself reads the picture back
		}
		w.complaints = append(w.complaints, fmt.Sprint(e.Entry.Level, ": ", e.Entry.Text, " ", e.Entry.URL))
	case *network.EventRequestWillBeSent:
		w.asked = append(w.asked, e.Request.URL)
	}
}

func (w *window) do(actions ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	if err := chromedp.Do(w.ctx, actions...); err != nil {
		w.t.Fatal(err)
	}
}

// js returns the value of an expression in the page, as text. Functions that it needs come before it.
func (w *window) js(expression string, functions ...string) string {
	w.t.Helper()
	text, err := chromedp.Run(w.ctx, chromedp.Evaluate[string](strings.Join(functions, "")+";String("+expression+")"))
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// shows waits until an element has a text.
func (w *window) shows(selector, text string) {
	w.t.Helper()
	shown := chromedp.Evaluate[string](`String(document.querySelector(` + fmt.Sprintf("%q", selector) + `)?.textContent)`)
	eventually(w.t, selector+" shows "+text, func() bool {
		found, err := chromedp.Run(w.ctx, shown)
		if err != nil && !strings.Contains(err.Error(), "navigated") { // a form leads to another page
			w.t.Fatal(err)
		}
		return strings.Contains(found, text)
	})
}

// picture keeps a screenshot for a person, if the test was asked to (-artifacts).
func (w *window) picture(name string) {
	w.t.Helper()
	png, err := chromedp.Run(w.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.t.ArtifactDir(), name+".png"), png, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// expectQuiet fails if the browser complained, or asked anybody but the listener.
func (w *window) expectQuiet(origins ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.complaints {
		w.t.Errorf("the browser complains: %s", c)
	}
	for _, url := range w.asked {
		own := strings.HasPrefix(url, "data:")
		for _, origin := range origins {
			own = own || strings.HasPrefix(url, origin)
		}
		if !own {
			w.t.Errorf("the page asked %s", url)
		}
	}
	if len(w.asked) == 0 {
		w.t.Error("nothing was heard of the page's requests")
	}
}

// storm sends one webhook many times at once, and waits for all answers.
func (r *replica) storm(node string, deliveries int) {
	var all sync.WaitGroup
	for range deliveries {
		all.Go(func() { r.post(node, 1) })
	}
	all.Wait()
}

func TestAStormIsSeenInTheBrowser(t *testing.T) {
	t.Parallel()
	var executions atomic.Int64
	r := start(t, logic.Func(func(ctx context.Context, w logic.Webhook) (logic.Result, error) {
		if strings.HasPrefix(w.NodeID, "fails") {
			return logic.Result{}, errors.New("it failed")
		}
		executions.Add(1)
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
		}
		return logic.JSON(map[string]bool{"booked": true})
	}), func(*config.Config) {})
	w := openWindow(t)
	w.do(sized(1280, 860, "light"), chromedp.Navigate(r.admin+"/"))
	w.shows("#link", "live")
	w.shows("#verdicts", "All is well.")

	began := time.Now()
	r.storm("storm", 500)
	answered := time.Since(began)
	w.shows("#deliveries", "500")
	t.Logf("500 deliveries were answered after %v and seen after %v", answered, time.Since(began))
	w.shows("#executions", "1")
	w.shows("#hot", "499")
	w.shows("#hot", "done")
	if executions.Load() != 1 {
		t.Fatalf("it was executed %d times", executions.Load())
	}
	eventually(t, "the bars add up to the storm", func() bool {
		return w.js(`bins.up.reduce((a, b) => a + b, 0) + " " + bins.down.reduce((a, b) => a + b, 0)`) == "500 -1"
	})
	if drawn := w.js(`pixels("--in") + " " + pixels("--out")`, pixels...); strings.Contains(drawn, "false") {
		t.Errorf("in the picture there are bars of both colours: %s", drawn)
	}
	w.picture("wide-light")
	w.do(sized(390, 844, "dark"))
	eventually(t, "it fits a phone", func() bool {
		return w.js(`document.documentElement.scrollWidth <= innerWidth && plot.width < 390`) == "true"
	})
	w.picture("phone-dark")
	w.do(sized(1280, 860, "dark"))

	for i := range 5 {
		r.post(fmt.Sprintf("fails-%d", i), 1)
	}
	w.shows("#verdicts .bad", "Executions fail: 5 of ")
	w.shows("#verdicts .bad", "Look at the failures below")
	w.shows("#failures", "error")
	w.picture("wide-dark-failing")

	f := fingerprint.Of([]byte("d"), []byte("storm"), 1)
	w.do(chromedp.Navigate(r.admin + "/webhook?fingerprint=" + f.String()))
	w.shows("dl", "gets this result, without an execution")
	if open := w.js(`document.querySelector("#forget").checkVisibility()`); open != "false" {
		t.Error("forgetting is one click away: nobody was asked")
	}
	w.js(`document.querySelector("details.forget").open = true`)
	w.picture("webhook")
	w.js(`document.querySelector("#forget").click()`)
	w.shows(".strip.well", "Forgotten.")
	w.shows("dl", "forgotten")
	if r.post("storm", 1); executions.Load() != 2 {
		t.Errorf("after it was forgotten it was executed %d times", executions.Load()-1)
	}
	page := w.js(`document.documentElement.outerHTML`)
	if strings.Contains(page, "planted") || strings.Contains(page, "booked") {
		t.Error("the page shows what a payload or a result holds")
	}
	w.expectQuiet(r.admin)
}

// pixels tells whether the picture has a colour of the page's.
var pixels = []string{`function pixels(name) {
	const c = document.querySelector("canvas"), all = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
	const hex = parseInt(color(name).slice(1), 16), wanted = [hex >> 16, (hex >> 8) & 255, hex & 255];
	for (let i = 0; i < all.length; i += 4) {
		if (wanted.every((v, j) => v === all[i + j])) return true;
	}
	return false;
}`}

func TestThePageOutlivesTheGateway(t *testing.T) {
	t.Parallel()
	admin := freeAddress(t)
	run := func() *replica {
		return start(t, logic.Echo{}, func(c *config.Config) { c.Admin.Listen = admin })
	}
	first := run()
	w := openWindow(t)
	w.do(chromedp.Navigate(first.admin + "/"))
	first.storm("a", 20)
	w.shows("#deliveries", "20")
	first.stop()
	w.shows("#link", "the connection is lost")
	second := run()
	w.shows("#link", "live, from a gateway that has restarted")
	second.storm("b", 5)
	w.shows("#deliveries", "25")
	eventually(t, "it still shows what was before", func() bool {
		return w.js(`bins.up.reduce((a, b) => a + b, 0)`) == "25"
	})
}

// TestTheTotalsHaveWhatACrashedReplicaDid, which is in Redis' counters: nobody tells a gateway that begins later of the
// seconds before.
func TestTheTotalsHaveWhatACrashedReplicaDid(t *testing.T) {
	server := redistest.Start(t)
	redistest.Do(t, redistest.Client(t, server.Addr()), "HSET", "cognigy:metrics", "total_requests", "18204",
		"duplicates", "18203", "executed", "1", "stored", "1")
	r := start(t, logic.Echo{}, func(c *config.Config) { c.Redis.URL = config.Secret(server.URL()) })
	w := openWindow(t)
	w.do(chromedp.Navigate(r.admin + "/"))
	w.shows("#all", "18,204")
	w.shows("#all-word", "answered in all, 1 executed: Redis' counters, of crashed replicas too")
	w.shows("#sum", "Nothing has arrived since ")
	w.shows("#sum", "What came before is counted below")
	r.storm("storm", 3)
	w.shows("#all", "18,207")
	w.shows("#sum", "2 of them (66.6 %) never reached the backend")
	w.shows("#sum", " answer. Since ")
	w.expectQuiet(r.admin)
}

func TestALoginLeadsToThePage(t *testing.T) {
	t.Parallel()
	const token = "0123456789-planted-token"
	r := start(t, logic.Echo{}, func(c *config.Config) { c.Admin.Token = token })
	w := openWindow(t)
	w.do(chromedp.Navigate(r.admin + "/"))
	w.shows("label", "ADMIN_TOKEN")
	w.js(`document.querySelector("#token").value = "` + token + `"`)
	w.js(`document.querySelector("button").click()`)
	w.shows("#link", "live")
	w.expectQuiet(r.admin)
	if reply, err := http.Get(r.admin + "/state"); err != nil {
		t.Fatal(err)
	} else if _ = reply.Body.Close(); reply.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the cookie: %s", reply.Status)
	}
}
