package deploy_test

import (
	"testing"

	"github.com/oncegate/oncegate/internal/redistest"
)

// TestARollingRestartBehindNginxFailsNoWebhook restarts one gateway after the other under 50 webhooks a second. The
// second case shows why our configuration is needed.
func TestARollingRestartBehindNginxFailsNoWebhook(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		drain        string
		replacements []string // in nginx.conf
		fails        bool
	}{
		"nginx.conf and DRAIN_DELAY": {drain: "1s"},
		"the defaults of nginx": {drain: "0s", fails: true, replacements: []string{
			" max_fails=0", "",
			"proxy_next_upstream error timeout http_502 http_504 non_idempotent;", "",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t).URL()
			var gateways []*gateway
			var addresses []string
			for range 2 {
				g := startGateway(t, program, "REDIS_URL="+redis, "DRAIN_DELAY="+c.drain, "ECHO_DELAY=20ms")
				gateways, addresses = append(gateways, g), append(addresses, g.address)
			}
			webhooks := startLoad(t, startNginxAt(t, "127.0.0.1:"+freePort(t), addresses, c.replacements...), 50)
			for range 2 {
				for _, g := range gateways {
					g.stop()
					webhooks.await(t, 25) // half a second, as a start of a container takes
					g.start(program)
				}
			}
			sent, failed := webhooks.end()
			t.Logf("%d of %d failed: %v", failed, sent, webhooks.answers)
			if (failed > 0) != c.fails {
				t.Errorf("%d of %d failed: %v", failed, sent, webhooks.answers)
			}
		})
	}
}
