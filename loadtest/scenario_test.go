package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/oncegate/oncegate/loadtest/stage"
)

// flush is the METRICS_FLUSH of all gateways in these tests.
const flush = 50 * time.Millisecond

// shared is a stage that the tests load one after the other, each with webhooks of its own.
var shared *stage.Stage

func TestMain(m *testing.M) { os.Exit(onStage(m)) }

func onStage(m *testing.M) int {
	// Replicas decide and count at once.
	if err := errors.Join(os.Setenv("SETTLE", "0"), os.Setenv("METRICS_FLUSH", flush.String())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err error
	if shared, err = stage.Open(context.Background(), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.Close()
	return m.Run()
}

// own opens a stage that one test loads, beside others.
func own(t *testing.T) *stage.Stage {
	t.Helper()
	s, err := stage.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// on returns the arguments that load a stage, through these URLs.
func on(s *stage.Stage, targets ...string) []string {
	args := []string{"--redis-url", s.RedisURL()}
	for _, t := range targets {
		args = append(args, "--target", t)
	}
	return args
}

// played runs the program and returns what it printed; reports go to dir.
func played(t *testing.T, dir string, args ...string) (printed string, err error) {
	t.Helper()
	var out, progress bytes.Buffer
	err = run(t.Context(), append(args, "--out", dir), &out, &progress)
	return out.String(), err
}

func TestEveryScenarioHoldsOnARealGateway(t *testing.T) {
	t.Parallel()
	s := own(t)
	for name, args := range map[string][]string{
		"first-time": {"--rate", "500", "--duration", "1s"},
		"storm":      {"--rate", "1000", "--duration", "1s"},
		"retries":    {"--rate", "500", "--duration", "1s"},
		"burst":      {"--rate", "40", "--duration", "5s"},
		"mixed-day":  {"--rate", "500", "--duration", "2s"},
		"soak":       {"--rate", "500", "--duration", "1s"},
		"bad-input":  {"--rate", "500", "--duration", "1s"},
		"max-rate":   {"--rate", "1000", "--duration", "200ms", "--slo", "20ms"},
	} {
		t.Run(name, func(t *testing.T) {
			printed, err := played(t, t.TempDir(), append(append([]string{name}, args...), on(s, s.Targets("")...)...)...)
			if err != nil || strings.Count(printed, "\nheld ") != 5 {
				t.Errorf("%v\n%s", err, printed)
			}
		})
	}
}

func TestSlowLogicMeetsAThousandDuplicates(t *testing.T) {
	t.Parallel()
	printed, err := played(t, t.TempDir(), "slow-logic", "--rate", "1000", "--duration", "1s") // the logic takes 2 s
	told := regexp.MustCompile(
		`total_requests 1000, as many as were sent: 1 executed, (\d+) replayed, (\d+) waited`,
	).FindStringSubmatch(printed)
	if err != nil || told == nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	replayed, _ := strconv.Atoi(told[1]) // deliveries that a busy machine sent after the two seconds
	waited, _ := strconv.Atoi(told[2])
	if replayed+waited != 999 || waited < 100 {
		t.Errorf("%d replayed, %d waited", replayed, waited)
	}
}

func TestLogicThatIsNotSlowIsNoVerdictOnSlowLogic(t *testing.T) {
	s := shared
	printed, err := played(t, t.TempDir(), append([]string{"slow-logic", "--duration", "200ms"},
		on(s, s.Targets("")...)...)...)
	if err == nil || errors.Is(err, errViolated) || !strings.Contains(err.Error(), "ECHO_DELAY=2s") {
		t.Errorf("%v\n%s", err, printed)
	}
}

func TestAProxyThatRepeatsAndReplicasThatAreKilled(t *testing.T) {
	t.Parallel()
	if err := stage.HasProxy(); err != nil {
		t.Fatal(err) // ./test.sh installs nginx
	}
	printed, err := played(t, t.TempDir(), "proxy", "--rate", "50", "--duration", "3s")
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	told := regexp.MustCompile(
		`note +([1-9]\d*) replicas were killed .* sent deliveries on (\d+) times`,
	).FindStringSubmatch(printed)
	if told == nil || len(told[2]) < 3 || told[2] < "300" {
		t.Errorf("no replica was killed, or nginx repeated next to nothing of 150:\n%s", printed)
	}
}

func TestAReportCanBeReadWithoutTheNetworkAndByVegeta(t *testing.T) {
	s, dir := shared, t.TempDir()
	printed, err := played(t, dir, append([]string{"retries", "--rate", "100", "--duration", "500ms"},
		on(s, s.Targets("")...)...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	file := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, "retries", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, want := range []string{"Latencies ", "Bucket ", "held      executions"} {
		if !strings.Contains(file(reportFile), want) || !strings.Contains(printed, want) {
			t.Errorf("the report has no %q:\n%s", want, file(reportFile))
		}
	}
	if !strings.HasPrefix(file(hdrFile), "Value(ms)") {
		t.Errorf("no HDR plot: %.80s", file(hdrFile))
	}
	page := file(pageFile)
	for _, want := range []string{"uPlot", `"title":"Latency, by when it was sent"`, `"title":"Throughput"`,
		`"name":"replayed"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if outside := regexp.MustCompile(`(?i)(src|href)\s*=|@import|url\(|fetch\(`).FindString(page); outside != "" {
		t.Errorf("the page loads something: %q", outside)
	}
	decode, results := vegeta.NewDecoder(strings.NewReader(file(resultsFile))), 0
	for {
		var r vegeta.Result
		if err := decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		results++
	}
	if results != len(all("retries", 1, 100, 500*time.Millisecond)) && results < 40 {
		t.Errorf("%d results", results)
	}
}

// when calls a function as soon as a text is written.
type when struct {
	text string
	do   func()
}

func (w when) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte(w.text)) {
		w.do()
	}
	return len(text), nil
}

func TestWhatWasSentIsJudgedWhenItIsEndedEarly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	args := append([]string{"storm", "--rate", "100", "--duration", "10m", "--out", t.TempDir()},
		on(shared, shared.Targets("")...)...)
	err := run(ctx, args, &out, when{"answered", cancel})
	if err != nil || strings.Count(out.String(), "\nheld ") != 5 {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestASeedThatRedisRemembersIsRefused(t *testing.T) {
	s := shared
	args := append([]string{"storm", "--seed", strconv.FormatInt(time.Now().UnixNano(), 10), "--rate", "50", "--duration",
		"100ms"}, on(s, s.Targets("")...)...)
	if printed, err := played(t, t.TempDir(), args...); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	if _, err := played(t, t.TempDir(), args...); err == nil || errors.Is(err, errViolated) ||
		!strings.Contains(err.Error(), "another --seed") {
		t.Error(err)
	}
}
