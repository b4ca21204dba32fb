package watch_test

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/hot"
	"github.com/oncegate/oncegate/internal/redistest"
)

func TestTheHotListIsThatOfAllReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var replicas []*replica
	for range 2 {
		replicas = append(replicas, start(t, logic.Echo{}, func(c *config.Config) {
			c.Redis.URL = config.Secret(server.URL())
		}))
	}
	replicas[0].storm("hot", 30)
	replicas[1].storm("hot", 20)
	replicas[1].storm("warm", 10)
	replicas[1].storm("cold", 1)
	for _, r := range replicas {
		eventually(t, "the hottest are first, with what came to all replicas", func() bool {
			hot := r.state().Hot
			return len(hot) == 2 && hot[0].Fingerprint == fingerprint.Of([]byte("d"), []byte("hot"), 1).Hex() &&
				hot[0].Duplicates == 49 && hot[0].Error == 0 && hot[0].State == "done" && hot[0].Attempt == 1 &&
				hot[1].Duplicates == 9
		})
	}
}

// TestThePageShowsTheHottestOfTenThousand: the memory of the list is fixed, and so is the size of the page's data.
func TestThePageShowsTheHottestOfTenThousand(t *testing.T) {
	t.Parallel()
	r := start(t, logic.Echo{}, func(*config.Config) {})
	w := openWindow(t)
	w.do(chromedp.Navigate(r.admin + "/"))
	w.shows("#link", "live")
	hit := func(n, times int) (f fingerprint.Fingerprint) {
		f = fingerprint.Of([]byte("d"), []byte("many"), int64(n))
		e := hot.Entry{Fingerprint: f}
		for range times {
			r.gate.Hot().Hit(&e)
		}
		return f
	}
	for n := range 10_000 {
		hit(n, 2)
	}
	hottest := hit(5000, 5000)
	eventually(t, "the hottest is first", func() bool {
		return w.js(`document.querySelector("#hot tbody tr a")?.title`) == hottest.Hex()
	})
	if rows := w.js(`document.querySelectorAll("#hot tbody tr").length`); rows != "50" {
		t.Errorf("it shows %s webhooks", rows)
	}
	w.shows("#link", "live")
	w.expectQuiet(r.admin)
}
