package watch_test

import (
	"strings"
	"testing"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/top"
)

func TestTopShowsTheSameInATerminal(t *testing.T) {
	t.Parallel()
	const token = "0123456789-planted-token"
	r := start(t, logic.Echo{}, func(c *config.Config) { c.Admin.Token = token })
	r.storm("storm", 40)
	once := func(at, token string) (string, error) {
		var out strings.Builder
		err := top.Run(t.Context(), top.Options{URL: at, Token: token, Once: true, Out: &out})
		return out.String(), err
	}
	eventually(t, "the storm is seen", func() bool {
		text, err := once(r.admin, token)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(text, "40 deliveries arrived, 1 executed") && strings.Contains(text, "All is well.")
	})
	for what, at := range map[string]string{"another ADMIN_TOKEN": r.admin, "top: the URL is": "localhost:8001"} {
		if _, err := once(at, "wrong"); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s with a wrong token: %v, want %s", at, err, what)
		}
	}
	if _, err := once(strings.TrimSuffix(r.url, "/webhook/cognigy"), token); err == nil ||
		!strings.Contains(err.Error(), "404") {
		t.Errorf("a gateway's own listener: %v", err)
	}
}
