package watch_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redistest"
)

// withTrail keeps a trail that is searched by a number that no page may show.
func withTrail(redis string) func(*config.Config) {
	return func(c *config.Config) {
		c.Redis.URL = config.Secret(redis)
		c.Trail.Keep, c.Trail.Fields = 1000, "variables.card"
	}
}

func storms(node string) string { return fingerprint.Of([]byte("d"), []byte(node), 1).Hex() }

// TestAPersonFindsABookingOnThePage types the words of a caller, and reads what became of the booking.
func TestAPersonFindsABookingOnThePage(t *testing.T) {
	t.Parallel()
	r := start(t, logic.Func(variety), withTrail(redistest.Start(t).URL()))
	r.storm("storm", 20)
	w := openWindow(t)
	look := func(text string) {
		w.do(chromedp.Navigate(r.admin + "/"))
		w.js(fmt.Sprintf(`document.querySelector("header input").value = %q`, text))
		w.js(`document.querySelector("header button").click()`)
	}
	look("card=4111-planted")
	w.shows(".steps li:nth-child(1)", "attempt 1 began, by replica")
	w.shows(".steps li:nth-child(2)", "attempt 1 ended with a result (200), after")
	w.shows("main", storms("storm")[:12]+"… was done once: attempt 1 (it has a result).")
	w.js(`document.querySelector("details.forget").open = true`)
	w.js(`document.querySelector("#forget").click()`)
	w.shows(".steps li:nth-child(3)", "a person had it forgotten (which counts as attempt 2): the result of attempt 1")
	w.picture("webhook-trail")

	r.post("fails", 1)
	look("d")
	w.shows("main", "These are 2 webhooks to Oncegate, since they differ in nodeId: each is executed.")
	w.picture("webhooks-trail")
	for _, none := range []string{"card=4712", "=4712"} {
		look(none)
		w.shows(".strip", "The trail has no such webhook.")
	}
	page := w.js(`document.documentElement.outerHTML + location.href`)
	if strings.Contains(page, "4712") || strings.Contains(page, "planted") {
		t.Errorf("what was asked for stands on the page or in its address:\n%s", page)
	}
	w.expectQuiet(r.admin)
}

// TestEveryReplicaTellsTheSameStory, of which no step holds a value of the request.
func TestEveryReplicaTellsTheSameStory(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).URL()
	first, second := start(t, logic.Func(variety), withTrail(redis)), start(t, logic.Func(variety), withTrail(redis))
	first.post("fails", 1)
	second.post("fails", 1)
	first.post("refuses", 1)
	for _, r := range []*replica{first, second} {
		page := r.get("/webhook/" + storms("fails"))
		for what, want := range map[string]int{"attempt 1 began": 1, "attempt 2 began": 1, "failed for certain": 4,
			"planted": 0, "refused by the backend": 0} {
			if n := strings.Count(page, what); n != want {
				t.Errorf("%q stands there %d times, want %d:\n%s", what, n, want, page)
			}
		}
		found, err := http.PostForm(r.admin+"/webhook", url.Values{"fingerprint": {"variables.card=4111-planted"}})
		if err != nil {
			t.Fatal(err)
		}
		list, _ := io.ReadAll(found.Body)
		_ = found.Body.Close()
		if text := string(list); !strings.Contains(text, storms("fails")) || !strings.Contains(text, storms("refuses")) ||
			strings.Contains(text, "planted") {
			t.Errorf("it finds\n%s", text)
		}
	}
}

func TestWithoutATrailNothingButAFingerprintIsLookedUp(t *testing.T) {
	t.Parallel()
	r := start(t, logic.Echo{}, func(*config.Config) {})
	r.post("n", 1)
	reply, err := http.PostForm(r.admin+"/webhook", url.Values{"fingerprint": {"d"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	if reply.StatusCode != http.StatusBadRequest {
		t.Errorf("it is answered %s", reply.Status)
	}
	if page := r.get("/webhook/" + storms("n")); strings.Contains(page, "Step by step") {
		t.Errorf("it shows\n%s", page)
	}
}
