package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redistest"
)

// jsonLines returns the lines that a replica with LOG_FORMAT=json has written.
func (r *replica) jsonLines() (lines []map[string]any) {
	for text := range strings.Lines(r.logs()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			continue // a line of the race detector, or half a line
		}
		lines = append(lines, line)
	}
	return lines
}

// loggedLine returns the first line with a message, or nil.
func (r *replica) loggedLine(message string) map[string]any {
	for _, line := range r.jsonLines() {
		if line["msg"] == message {
			return line
		}
	}
	return nil
}

func TestJSONLinesCarryWhatAPersonSearchesFor(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).URL()
	r := start(t, "REDIS_URL="+redis, "LOG_FORMAT=json", "SETTLE=0", "SWEEP_INTERVAL=1s", "ECHO_DELAY=20s",
		"EXECUTION_TIMEOUT=50ms")
	if a, err := r.send(1); err != nil || a.code != 500 {
		t.Fatalf("answer %+v, %v", a, err)
	}
	eventually(t, "it sweeps", func() bool { return r.loggedLine("swept") != nil })
	r.signal(syscall.SIGTERM)
	r.exit()

	name := fingerprint.Of([]byte("d"), []byte("n"), 1)
	if hex := `"fingerprint":"` + name.String() + `"`; !strings.Contains(r.logs(), hex) {
		t.Errorf("no line has %s:\n%s", hex, r.logs())
	}
	line := r.loggedLine("execution")
	for field, want := range map[string]any{
		"outcome": "failed", "dialog": "d", "node": "n", "sequence": 1., "attempt": 1., "cause": "first", "reason": "timeout",
	} {
		if line[field] != want {
			t.Errorf("%s is %v, want %v, in %v", field, line[field], want, line)
		}
	}
	for message, fields := range map[string][]string{
		"execution":     {"took_ms"},
		"swept":         {"took_ms", "detection_rate"},
		"shutting down": {"at_most_ms"},
	} {
		for _, field := range fields {
			if _, number := r.loggedLine(message)[field].(float64); !number {
				t.Errorf("%s: %s is no number in %v", message, field, r.loggedLine(message))
			}
		}
	}
	if got := r.loggedLine("shutting down")["at_most_ms"]; got != 35000. {
		t.Errorf("SHUTDOWN_TIMEOUT is told as %v ms", got)
	}
	for _, line := range r.jsonLines() {
		for field, value := range line {
			if _, list := value.([]any); list {
				t.Errorf("%s is a list in %v", field, line)
			}
		}
	}
}

func TestAShutdownThatCutsExecutionsOffIsWarnedOfAtTheStart(t *testing.T) {
	const says = "A SHUTDOWN MAY CUT EXECUTIONS OFF"
	if r := start(t); strings.Contains(r.logs(), says) {
		t.Errorf("the defaults are warned of:\n%s", r.logs())
	}
	r := start(t, "EXECUTION_TIMEOUT=80s") // as docs/cognigy.md advises for CXone
	if !strings.Contains(r.logs(), says) || !strings.Contains(r.logs(), "at_least=1m22s") {
		t.Errorf("it says:\n%s", r.logs())
	}
}

func TestAMisspeltSettingIsWarnedOf(t *testing.T) {
	r := start(t, "EXECUTION_TIMOUT=5s", "REDIS_PORT_6379_TCP=tcp://10.0.0.1:6379")
	if logs := r.logs(); !strings.Contains(logs, "variable=EXECUTION_TIMOUT setting=EXECUTION_TIMEOUT") ||
		strings.Contains(logs, "6379") {
		t.Errorf("it says:\n%s", logs)
	}
}

func TestAShutdownThatCutsOffSaysSoInOneSentence(t *testing.T) {
	t.Parallel()
	r := start(t, "ECHO_DELAY=20s", "SHUTDOWN_TIMEOUT=500ms")
	go func() { _, _ = r.send(1) }()
	eventually(t, "it executes", func() bool { return r.status(1) == http.StatusAccepted })
	r.signal(syscall.SIGTERM)
	code := r.exit()
	const says = `error="shutdown within SHUTDOWN_TIMEOUT (500ms): 1 execution did not end in time and was cut off; it ` +
		`may have been done"`
	if code != 1 || !strings.Contains(r.logs(), says) {
		t.Errorf("exit status %d, it says:\n%s", code, r.logs())
	}
	if !strings.Contains(r.logs(), "outcome=failed") || !strings.Contains(r.logs(), "reason=shutdown") {
		t.Errorf("no line of the execution:\n%s", r.logs())
	}
}

// status asks what became of a webhook, without sending it.
func (r *replica) status(sequence int64) int {
	r.t.Helper()
	reply, err := http.Get(r.url + "/webhook/cognigy/" + fingerprint.Of([]byte("d"), []byte("n"), sequence).Hex())
	if err != nil {
		r.t.Fatal(err)
	}
	_ = reply.Body.Close()
	return reply.StatusCode
}
