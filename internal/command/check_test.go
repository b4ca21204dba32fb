package command_test

import (
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/config"
)

// TestACheckReadsTheFilesThatSettingsName: a gateway with such settings would not start.
func TestACheckReadsTheFilesThatSettingsName(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for names, change := range map[string]func(*config.Config){
		"TLS_CERT":        func(c *config.Config) { c.HTTP.TLSCert, c.HTTP.TLSKey = nowhere, nowhere },
		"REDIS_TLS":       func(c *config.Config) { c.Redis.TLSCA = nowhere },
		"UPSTREAM_TLS":    func(c *config.Config) { c.Upstream.TLSCA = nowhere },
		"RESULT_KEY_FILE": func(c *config.Config) { c.Execution.ResultKeyFile = nowhere },
		"tenant acme: TLS": func(c *config.Config) {
			c.Tenants = []config.Tenant{{Name: "acme"}}
			c.Tenants[0].Upstream.TLSCA = nowhere
		},
		"": func(*config.Config) {},
	} {
		c, out := config.Default(), new(strings.Builder)
		change(&c)
		err := command.Check(&c, "oncegate.yaml", out, slog.New(slog.NewTextHandler(io.Discard, nil)))
		valid := strings.Contains(out.String(), "oncegate.yaml is valid")
		if names == "" {
			if err != nil || !valid || !strings.Contains(out.String(), "lock_ttl") {
				t.Errorf("of the defaults it says %v, and\n%s", err, out)
			}
		} else if err == nil || !strings.Contains(err.Error(), names) || !strings.Contains(err.Error(), nowhere) || valid {
			t.Errorf("of %s it says %v, and\n%s", names, err, out)
		}
	}
}
