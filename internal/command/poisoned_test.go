package command_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
)

func TestPoisonedListsWhatFailedTooOften(t *testing.T) {
	onEach(t, func(e *engine) {
		failed := func(failures int64) record.Record {
			return record.Record{
				State: record.Failed, Attempt: failures + 1, Token: "t", FailedAt: time.UnixMilli(1700000000000), Reason: "timeout",
				Digest: record.Digest{1}, Failures: failures,
			}
		}
		crashed := record.Record{
			State: record.InProgress, Attempt: 3, Token: "t", Deadline: time.UnixMilli(1700000000000), Lease: lease,
			Started: time.UnixMilli(1690000000000), Digest: record.Digest{1}, Failures: 2,
		}
		runs := crashed
		runs.Deadline = time.Now().Add(time.Hour)
		names := make(map[string]string) // of those to be listed
		for i, c := range []struct {
			record   record.Record
			failures string
		}{{failed(3), "3"}, {failed(7), "7"}, {failed(2), ""}, {crashed, "3"}, {runs, ""}, {found(e.now())["done"].record, ""}} {
			f := fingerprint.Of([]byte("d"), []byte("n"), int64(i))
			e.plant(keys.Record(f), c.record, ttl)
			if c.failures != "" {
				names[f.String()] = c.failures
			}
		}
		e.do("LPUSH", keys.Record(fingerprint.Of(nil, nil, 1)), "foreign")

		var out strings.Builder
		if err := command.Poisoned(e.Context(), e.client, keys, 3, &out); err != nil {
			t.Fatal(err)
		}
		listed := 0
		for line := range strings.Lines(out.String()) {
			fields := strings.Fields(line)
			if len(fields) > 2 && names[fields[0]] == fields[1] && fields[1] != "" {
				listed++
			}
		}
		if listed != len(names) || strings.Count(out.String(), "cognigy:fp:") != len(names) || !strings.Contains(out.String(), "crashed") ||
			!strings.Contains(out.String(), "oncegate forget --fingerprint") {
			t.Errorf("printed\n%s", &out)
		}

		out.Reset()
		if err := command.Poisoned(e.Context(), e.client, keys, 100, &out); err != nil || out.String() != "No webhook has failed 100 times.\n" {
			t.Errorf("printed %q, %v", &out, err)
		}
		if err := command.Poisoned(e.Context(), e.client, keys, 0, &out); !errors.Is(err, command.ErrNoLimit) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAWebhookIsNamedByItsFingerprintToo(t *testing.T) {
	onEach(t, func(e *engine) {
		e.plant(key, found(e.now())["done"].record, ttl)
		f := fingerprint.Of([]byte(dialog), []byte(node), sequence)
		var out strings.Builder
		if err := command.Inspect(e.Context(), e.client, keys, command.Webhook{Fingerprint: &f}, &out); err != nil || !strings.Contains(out.String(), f.String()) {
			t.Errorf("printed %q, %v", &out, err)
		}
		out.Reset()
		err := command.Forget(e.Context(), e.client, keys, command.Webhook{Fingerprint: &f}, false, command.Gateway{LockTTL: lease, ResultTTL: ttl}, &out)
		if err != nil || !e.forgotten() || !strings.Contains(out.String(), f.String()) {
			t.Errorf("printed %q, %v", &out, err)
		}
	})
}
