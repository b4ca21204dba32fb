package command_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

func TestCommandsAreAboutTheWebhooksOfOneTenant(t *testing.T) {
	onEach(t, func(e *engine) {
		f := fingerprint.OfTenant("acme", "cognigy", []byte(dialog), []byte(node), []byte("7"))
		named := command.Webhook{Fingerprint: &f}
		poisoned := several(e.now())["poisoned"]
		poisoned.Verdict = record.Poisoned
		for _, tenant := range []string{"acme", "beta", ""} {
			e.plant(keys.RecordOf(tenant, f), poisoned, ttl)
		}
		e.do("HSET", keys.Metrics(), "executed", "9", "acme/executed", "4", "acme/stored", "3", "beta/executed", "5")
		acme := e.deployment()
		acme.Tenant = "acme"

		var page strings.Builder
		if err := acme.Inspect(e.Context(), command.Webhook{Tenant: "acme", Dialog: dialog, Node: node, Sequence: sequence},
			&page); err != nil || !strings.Contains(page.String(), keys.RecordOf("acme", f)) {
			e.Errorf("inspect: %v\n%s", err, &page)
		}
		page.Reset()
		if err := acme.Poisoned(e.Context(), &page); err != nil || strings.Count(page.String(), f.Hex()) != 1 {
			e.Errorf("poisoned: %v\n%s", err, &page)
		}
		if err := acme.Forget(e.Context(), named, false, &page); err != nil {
			e.Error(err)
		}
		for tenant, state := range map[string]string{"acme": "forgotten", "beta": "timeout", "": "timeout"} {
			r, err := record.Parse([]byte(e.do("GET", keys.RecordOf(tenant, f))))
			if err != nil || r.Reason != state {
				e.Errorf("of %q stands %+v, %v", tenant, r, err)
			}
		}
		stranger := e.deployment()
		stranger.Tenant = "nobody"
		if err := stranger.Forget(e.Context(), named, false, &page); !errors.Is(err, command.ErrNotFound) {
			e.Errorf("another's is forgotten: %v", err)
		}

		for tenant, want := range map[string][]string{
			"": {"executed 9", "stored 0"}, "acme": {"executed 4", "stored 3"}, "beta": {"executed 5", "stored 0"},
		} {
			page.Reset()
			if err := command.Stats(e.Context(), e.client, keys, tenant, &page, false); err != nil {
				e.Error(err)
			}
			words := strings.Join(strings.Fields(page.String()), " ")
			for _, part := range want {
				if !strings.Contains(words, part) || strings.Contains(words, "/executed") {
					e.Errorf("stats of %q lack %s:\n%s", tenant, part, &page)
				}
			}
		}
	})
}

func TestWhereThereAreTenantsACommandWantsOne(t *testing.T) {
	c := config.Default()
	c.Redis.URL = "redis://127.0.0.1:1"
	c.Tenants = []config.Tenant{{Name: "acme", Door: config.Door{Open: true}, HTTP: c.HTTP, Execution: c.Execution}}
	acme, beta := config.OfTenant{Tenant: "acme"}, config.OfTenant{Tenant: "beta"}
	for name, line := range map[string]config.CommandLine{
		"want --tenant":          {Config: c, Command: "inspect"},
		`no tenant "beta"`:       {Config: c, Command: "forget", Forget: config.Forget{OfTenant: beta}},
		"redis at 127.0.0.1:1":   {Config: c, Command: "poisoned", Poisoned: config.Poisoned{OfTenant: acme}},
		"redis at 127.0.0.1:1: ": {Config: c, Command: "stats"},
	} {
		line.Redis.Retries, line.Redis.Timeout = 0, time.Second
		err := command.Run(t.Context(), &line, slog.New(slog.DiscardHandler), strings.NewReader(""), new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
