package config_test

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/oncegate/oncegate/internal/config"
)

func TestTheHelpNamesEverySettingOnceAndNoOther(t *testing.T) {
	out := exits(t, []string{"--help"}, nil)
	var flags []string
	for _, match := range regexp.MustCompile(`(?m)^ +--([a-z-]+)=`).FindAllStringSubmatch(out, -1) {
		flags = append(flags, strings.ToUpper(strings.ReplaceAll(match[1], "-", "_")))
	}
	var variables, files []string
	for _, match := range regexp.MustCompile(`\[\$([A-Z_]+)(?:,\s+\$([A-Z_]+)_FILE)?\]`).FindAllStringSubmatch(out, -1) {
		variables = append(variables, match[1])
		if match[2] != "" {
			equal(t, match[2], match[1])
			files = append(files, match[2])
		}
	}
	equal(t, flags, variables)
	equal(t, slices.Sorted(slices.Values(flags)), slices.Sorted(maps.Keys(setting)))
	equal(t, files, secrets)
	contains(t, out, "Try it, with two commands:\n  oncegate", "curl -i localhost:8000/webhook/cognigy")
}

func TestTheHelpOfACommandIsAboutThatCommand(t *testing.T) {
	out := exits(t, []string{"forget", "--help", "d", "n", "--sequence=-5"}, env{"LOCK_TTL": "nonsense"})
	contains(t, out, "Usage: oncegate forget [<dialog> [<node>]] [flags]", "--sequence=N", "--force", "--fingerprint")
	equal(t, strings.Contains(out, "Try it"), false)
}

func TestWhoWins(t *testing.T) {
	t.Run("a flag over its variable", func(t *testing.T) {
		equal(t, mustParse(t, []string{"--lock-ttl=9s"}, env{"LOCK_TTL": "nonsense"}).Execution.LockTTL, 9*time.Second)
	})
	t.Run("the default over an empty variable", func(t *testing.T) {
		equal(t, mustParse(t, nil, env{"LOCK_TTL": "", "LISTEN": ""}).Config, mustParse(t, nil, nil).Config)
	})
	t.Run("no variable sets what is not a setting", func(t *testing.T) {
		line := mustParse(t, []string{"forget", "d", "n", "--sequence=1"},
			env{"FORCE": "true", "VERSION": "true", "HELP": "true", "JSON": "true"})
		equal(t, line.Forget.Force, false)
	})
}

func TestCommands(t *testing.T) {
	identity := func(dialog, node string, sequence int64) config.Identity {
		return config.Identity{Dialog: dialog, Node: node, Sequence: &sequence}
	}
	type arguments struct {
		command string
		stats   config.Stats
		inspect config.Inspect
		forget  config.Forget
	}
	for line, want := range map[string]arguments{
		"":                          {command: "serve"},
		"--listen :9000":            {command: "serve"},
		"serve --listen :9000":      {command: "serve"},
		"stats":                     {command: "stats"},
		"stats --json":              {command: "stats", stats: config.Stats{JSON: true}},
		"--listen :9000 stats":      {command: "stats"},
		"inspect d n --sequence 7":  {command: "inspect", inspect: config.Inspect{Identity: identity("d", "n", 7)}},
		"inspect d n --sequence=-5": {command: "inspect", inspect: config.Inspect{Identity: identity("d", "n", -5)}},
		"inspect d --sequence=-5 n --listen :9000": {
			command: "inspect", inspect: config.Inspect{Identity: identity("d", "n", -5)},
		},
		"--listen :9000 inspect --sequence=0 d n": {
			command: "inspect", inspect: config.Inspect{Identity: identity("d", "n", 0)},
		},
		"inspect - n --sequence=-12": {command: "inspect", inspect: config.Inspect{Identity: identity("-", "n", -12)}},
		"inspect --sequence=-5 -- -d -7": {
			command: "inspect", inspect: config.Inspect{Identity: identity("-d", "-7", -5)},
		},
		"inspect d n --sequence=9223372036854775807": {
			command: "inspect", inspect: config.Inspect{Identity: identity("d", "n", 1<<63-1)},
		},
		"inspect d n --sequence=-9223372036854775808": {
			command: "inspect", inspect: config.Inspect{Identity: identity("d", "n", -1<<63)},
		},
		"forget d n --sequence=-5 --force": {
			command: "forget", forget: config.Forget{Identity: identity("d", "n", -5), Force: true},
		},
		"forget d n --sequence 5": {
			command: "forget", forget: config.Forget{Identity: identity("d", "n", 5)},
		},
		"size --rate 10000 --duplicates 0.5 --bytes 2KiB --cores 4": {command: "size"},
	} {
		t.Run("oncegate "+line, func(t *testing.T) {
			got := mustParse(t, strings.Fields(line), nil)
			equal(t, arguments{got.Command, got.Stats, got.Inspect, got.Forget}, want)
		})
	}
}

func TestTheDoubtfulAreForgottenBeforeAPointInTimeOrSoLongAgo(t *testing.T) {
	now := time.Date(2026, 7, 29, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90m":                       now.Add(-90 * time.Minute),
		"2026-07-29T08:00:00Z":      now.Add(-4 * time.Hour),
		"2026-07-29T08:00:00+02:00": now.Add(-6 * time.Hour),
	} {
		line := mustParse(t, []string{"forget", "--doubtful", "--before", text, "--yes"}, env{"YES": "false"})
		equal(t, line.Forget.Before.Before(now), want)
		equal(t, line.Forget.Doubtful && line.Forget.Yes, true)
	}
	line := mustParse(t, strings.Fields("resolve ab --status 200 --data -"), env{"STATUS": "500", "DATA": "x"})
	equal(t, line.Resolve, config.Resolve{Fingerprint: "ab", Status: 200, Data: "-", ContentType: "application/json"})
}

func TestACommandLineThatMakesNoSenseIsRefused(t *testing.T) {
	for line, want := range map[string]string{
		"inspect":                                        "want DIALOG NODE --sequence=N, or --fingerprint",
		"inspect d n":                                    "want DIALOG NODE --sequence=N, or --fingerprint",
		"inspect d --sequence 1":                         "want DIALOG NODE --sequence=N, or --fingerprint",
		"inspect --sequence 1":                           "want DIALOG NODE --sequence=N, or --fingerprint",
		"inspect d n --fingerprint ab":                   "not both",
		"inspect --fingerprint ab --sequence 1":          "not both",
		"inspect -7 n --sequence 3":                      "unknown flag -7",
		"inspect d n 7":                                  "unexpected argument 7",
		"inspect d n --sequence -5":                      "one that begins with a hyphen: --sequence=VALUE",
		"inspect d n --sequence 007":                     `SEQUENCE is "007": must be a whole number`,
		"inspect d n --sequence=-0":                      `SEQUENCE is "-0"`,
		"inspect d n --sequence +7":                      `SEQUENCE is "+7"`,
		"inspect d n --sequence 7.0":                     `SEQUENCE is "7.0"`,
		"inspect d n --sequence 0x7":                     `SEQUENCE is "0x7"`,
		"inspect d n --sequence x":                       `SEQUENCE is "x"`,
		"forget d n --sequence 9223372036854775808":      `SEQUENCE is "9223372036854775808"`,
		"forget --doubtful":                              "want --before",
		"forget --doubtful --before -1h":                 "--before needs a value",
		"forget --doubtful --before=0s":                  `BEFORE is "0s": must be a time such as`,
		"forget --doubtful --before soon":                `BEFORE is "soon": must be a time such as`,
		"forget --doubtful d n --sequence 1 --before 1h": "takes neither a webhook nor --force",
		"forget --before 1h d n --sequence 1":            "belong to --doubtful",
		"forget d n --sequence 1 --yes":                  "belong to --doubtful",
		"resolve --status 200 --data -":                  "<fingerprint>",
		"stat":                                           `did you mean "stats"`,
		"--lok-ttl 5s":                                   `did you mean "--lock-ttl"`,
		"stats --force":                                  "unknown flag --force",
		"--listen -s3cret":                               "needs a value (one that begins with a hyphen: --listen=VALUE)",
		"--lock-ttl":                                     "--lock-ttl needs a value",
		"--redis-url --listen :9000":                     "--redis-url needs a value",
	} {
		t.Run("oncegate "+line, func(t *testing.T) { contains(t, refused(t, strings.Fields(line), nil), want) })
	}
}

func TestAValueThatCannotBeReadIsNamedWithWhatItMustBe(t *testing.T) {
	for name, value := range map[string]string{
		"LOCK_TTL": "60", "SETTLE": "soon", "MAX_BODY_BYTES": "1MB", "MAX_RESULT_BYTES": "36028797018963969KiB",
		"PROCESSING_STATUS": "conflict", "REJECTED_TTL": "5", "UPSTREAM_BREAKER_FAILURES": "20s",
		"UPSTREAM_BREAKER_PAUSE": "10", "LOG_LEVEL": "loud", "REDIS_DB": "x", "REDIS_PORT": "tcp://10.0.0.1:6379",
	} {
		message := refused(t, nil, env{name: value})
		contains(t, message, fmt.Sprintf("%s is %q: must be ", name, value))
		equal(t, refused(t, []string{"--" + strings.ToLower(strings.ReplaceAll(name, "_", "-")), value}, nil), message)
	}
	for _, port := range []string{"0", "65536", "-1"} {
		contains(t, refused(t, nil, env{"REDIS_HOST": "h", "REDIS_PORT": port}), "must be a port, 1 to 65535")
	}
}

func TestVersion(t *testing.T) {
	equal(t, exits(t, []string{"--version"}, nil), "oncegate 0.0.0-test\n")
}

// env is an environment: values by the names of variables.
type env map[string]string

// exit is the value of the panic that replaces os.Exit in tests.
type exit int

// run parses a command line and returns what was printed; status is -1 if the program would go on.
func run(args []string, environment env) (line *config.CommandLine, printed string, status int, err error) {
	var out bytes.Buffer
	defer func() {
		if code, ok := recover().(exit); ok {
			printed, status = out.String(), int(code)
		}
	}()
	getenv := func(name string) string { return environment[name] }
	line, err = config.Parse(args, getenv, "0.0.0-test", kong.Writers(&out, &out),
		kong.Exit(func(code int) { panic(exit(code)) }))
	return line, out.String(), -1, err
}

func mustParse(t *testing.T, args []string, environment env) *config.CommandLine {
	t.Helper()
	line, printed, status, err := run(args, environment)
	if err != nil || printed != "" || status != -1 {
		t.Fatalf("oncegate %v with %v: status %d, error %v, printed %q", args, environment, status, err, printed)
	}
	return line
}

// refused returns the error of a command line that must be refused.
func refused(t *testing.T, args []string, environment env) string {
	t.Helper()
	_, printed, status, err := run(args, environment)
	if err == nil || printed != "" || status != -1 {
		t.Fatalf("oncegate %v with %v: not refused (status %d, printed %q)", args, environment, status, printed)
	}
	return err.Error()
}

// exits returns what was printed before the program exited with 0.
func exits(t *testing.T, args []string, environment env) string {
	t.Helper()
	_, printed, status, err := run(args, environment)
	if err != nil || status != 0 {
		t.Fatalf("oncegate %v with %v: status %d, error %v; want 0", args, environment, status, err)
	}
	return printed
}
