package logs_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/logs"
)

func TestJSONHasUnitsInNamesAndTextForWhatIsBuiltOfBytes(t *testing.T) {
	var out strings.Builder
	name := fingerprint.Of([]byte("d"), []byte("n"), 1)
	logs.New(config.Log{Format: "json"}, &out).WithGroup("g").Info("all kinds",
		"after", 1500*time.Millisecond, "took", 12_345*time.Nanosecond, "fingerprint", name, "from",
		netip.MustParseAddr("::1"),
		"size", config.MiB, "secret", config.Secret("s"), "error", errors.Join(errors.New("e"), errors.New("f")), "at",
		time.Unix(0, 0).UTC(), "n", int64(7), "rate", 0.5, "yes", true)
	var line struct{ G map[string]any }
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	want := map[string]any{
		"after_ms": 1500., "took_ms": 0.012, "fingerprint": name.String(), "from": "::1", "size": "1MiB",
		"secret": "[hidden]", "error": "e; f",
		"at": "1970-01-01T00:00:00Z", "n": 7., "rate": 0.5, "yes": true,
	}
	for field, value := range want {
		if line.G[field] != value {
			t.Errorf("%s is %#v, want %#v", field, line.G[field], value)
		}
	}
	if len(line.G) != len(want) {
		t.Errorf("the line is %s", out.String())
	}
}

func TestTextIsAsSlogHasIt(t *testing.T) {
	var out strings.Builder
	logs.New(config.Log{Format: "text", Level: slog.LevelWarn}, &out).Warn("it lasted", "after", 1500*time.Millisecond,
		"error", errors.Join(errors.New("e"), errors.New("f")))
	if !strings.Contains(out.String(), `level=WARN msg="it lasted" after=1.5s error="e; f"`) {
		t.Errorf("it says %s", out.String())
	}
}

// A program's own logger (docs/library.md) knows nothing of this package, and must still write a fingerprint as text.
func TestAFingerprintIsTextInAnyLogger(t *testing.T) {
	var out strings.Builder
	name := fingerprint.Of([]byte("d"), []byte("n"), 1)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "fingerprint", name)
	if !strings.Contains(out.String(), `"fingerprint":"`+name.String()+`"`) {
		t.Errorf("it says %s", out.String())
	}
}
