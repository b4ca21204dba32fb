package command_test

import (
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/fingerprint"
)

func TestAWebhookIsNamedByItsFingerprintToo(t *testing.T) {
	onEach(t, func(e *engine) {
		e.plant(key, found(e.now())["done"].record, ttl)
		f := fingerprint.Of([]byte(dialog), []byte(node), sequence)
		var out strings.Builder
		if err := e.deployment().Inspect(e.Context(), command.Webhook{Fingerprint: &f}, &out); err != nil ||
			!strings.Contains(out.String(), f.String()) {
			t.Errorf("printed %q, %v", &out, err)
		}
		out.Reset()
		err := e.deployment().Forget(e.Context(), command.Webhook{Fingerprint: &f}, false, &out)
		if err != nil || !e.forgotten() || !strings.Contains(out.String(), f.String()) {
			t.Errorf("printed %q, %v", &out, err)
		}
	})
}
