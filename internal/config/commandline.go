package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// CommandLine is a parsed command line: a command with its arguments, and the settings that all commands share.
type CommandLine struct {
	Config

	// Command is the name of one of the fields below, which holds its arguments.
	Command string `kong:"-"`

	// Watched are the file of settings and the files that it names. Changes in them come into force without a restart.
	Watched []string `kong:"-"`

	Serve    Serve            `cmd:"" default:"1"        help:"Run the gateway (the default command)."`
	Demo     Demo             `cmd:"" help:"Play a storm on an embedded store, with a dashboard to watch it on. It needs nothing else."`
	Top      Top              `cmd:"" help:"Show the dashboard in a terminal."`
	Health   Health           `cmd:"" help:"Ask a gateway whether it is ready: exit status 0 or 1 and one line, for containers without curl."`
	Stats    Stats            `cmd:"" help:"Print the counters of all replicas."`
	Inspect  Inspect          `cmd:"" help:"Show the record of one webhook, in words."`
	Poisoned Poisoned         `cmd:"" help:"List the webhooks that are not executed any more, since their executions failed MAX_ATTEMPTS times."`
	Doubtful Doubtful         `cmd:"" help:"List the webhooks that are not executed any more, since nobody knows whether they were done (IN_DOUBT=stop)."`
	TrailOf  TrailOf          `cmd:"" name:"trail" help:"Tell what became of webhooks, step by step (TRAIL)."`
	Forget   Forget           `cmd:"" help:"Forget the outcome of one webhook, or of the doubtful ones, so that the next delivery runs it again."`
	Resolve  Resolve          `cmd:"" help:"Give a webhook the result that a person found out."`
	Check    Check            `cmd:"" help:"Check a file of settings, and print what is in force by it."`
	Size     Size             `cmd:"" help:"Work out how many replicas and what Redis a load takes."`
	Version  kong.VersionFlag `help:"Print the version."`
}

// Serve runs the gateway.
type Serve struct{}

// Demo plays a storm.
type Demo struct {
	Open bool `default:"true" negatable:"" help:"Show the dashboard in a browser, if there is one."`
}

// Top shows the dashboard in a terminal.
type Top struct {
	OfTenant
	URL  string `arg:"" optional:"" help:"Admin listener of a gateway; without it the one at ADMIN_LISTEN."`
	Once bool   `help:"Print one frame, for scripts."`
}

// Health asks a gateway.
type Health struct {
	URL string `arg:"" optional:"" help:"What to ask; without it /readyz of the gateway that listens here on LISTEN."`
}

// Stats prints the counters.
type Stats struct {
	OfTenant
	JSON bool `help:"Print JSON instead of a table."`
}

// Inspect shows one record.
type Inspect struct {
	OfTenant
	Identity
}

// Validate refuses an identity that is not whole; kong calls it.
func (i Inspect) Validate() error { return i.whole() }

// Forget lets a webhook execute again, or all doubtful ones that ended before a time.
type Forget struct {
	OfTenant
	Identity
	Force    bool   `help:"Also while it runs: that run's result is dropped."`
	Doubtful bool   `help:"In place of one webhook: those that are doubtful (oncegate doubtful)."`
	Before   Moment `placeholder:"TIME" help:"With --doubtful: those whose last attempt ended before that, such as 2026-07-29T08:00:00Z, or 24h for so long ago."`
	Yes      bool   `help:"With --doubtful: do not ask."`
}

// Validate refuses a mixture of one webhook and all doubtful ones; kong calls it.
func (f Forget) Validate() error {
	switch {
	case !f.Doubtful && (f.Before != Moment{} || f.Yes):
		return errors.New("--before and --yes belong to --doubtful")
	case !f.Doubtful:
		return f.whole()
	case f.given() || f.Fingerprint != "" || f.Force:
		return errors.New("which webhooks? want one of them or --doubtful, which takes neither a webhook nor --force")
	case f.Before == Moment{}:
		return errors.New("which of the doubtful webhooks? want --before, such as --before 24h")
	}
	return nil
}

// Resolve gives a webhook a result.
type Resolve struct {
	OfTenant
	Fingerprint string `arg:"" help:"Fingerprint of the webhook, as answers carry it."`
	Status      int    `required:"" help:"HTTP status of the result: 2xx, or 4xx for a final refusal."`
	Data        string `required:"" placeholder:"FILE" help:"File with the result, or - for standard input; at most MAX_RESULT_BYTES."`
	ContentType string `default:"application/json" help:"Its content type."`
}

// TrailOf tells what became of webhooks: of those that all given flags select, or of all webhooks if none is given.
type TrailOf struct {
	OfTenant
	Dialog      string `placeholder:"ID" help:"dialogId of the webhooks."`
	Fingerprint string `placeholder:"HEX" help:"Fingerprint of the webhook, as answers carry it."`
	Field       string `placeholder:"NAME=VALUE" help:"A field of TRAIL_FIELDS, or a part of the identity, such as orderId=4711; the name may be the end of a path."`
	Since       Moment `placeholder:"TIME" help:"Only what happened since then: such as 1h for an hour ago, or 2026-07-29T08:00:00Z."`
	Follow      bool   `help:"Go on with what comes, until it is interrupted."`
	JSON        bool   `help:"Print each event as a line of JSON."`
}

// Validate refuses flags that select no webhooks; kong calls it.
func (t TrailOf) Validate() error {
	given := 0
	for _, name := range []string{t.Dialog, t.Fingerprint, t.Field} {
		if name != "" {
			given++
		}
	}
	name, _, whole := strings.Cut(t.Field, "=")
	switch {
	case given > 1:
		return errors.New("which webhooks? want one of --dialog, --fingerprint and --field")
	case t.Field != "" && (!whole || name == ""):
		return fmt.Errorf("--field is %q: want NAME=VALUE, such as orderId=4711", t.Field)
	}
	return nil
}

// Poisoned lists the poisoned webhooks.
type Poisoned struct{ OfTenant }

// Doubtful lists the doubtful webhooks.
type Doubtful struct{ OfTenant }

// OfTenant names the tenant whose webhooks a command is about.
type OfTenant struct {
	Tenant string `placeholder:"NAME" help:"The tenant whose webhooks it is about."`
}

// Check reads a file of settings.
type Check struct {
	File string `arg:"" optional:"" help:"The file; without it that of CONFIG."`
}

// Size calculates the capacity for a load.
type Size struct {
	Rate       float64 `required:"" help:"Webhooks a second, all deliveries."`
	Duplicates float64 `default:"0.02" help:"Share of them that are duplicates of a finished webhook, 0 to 1."`
	Bytes      Bytes   `default:"1KiB" help:"Size of a result."`
	Cores      int     `default:"2" help:"Cores of one replica."`

	BackendTime time.Duration `default:"1s" help:"How long the backend takes for a webhook."`
}

// Identity names a webhook: by its three parts, or by its fingerprint as it is in answers. An id that begins with a
// hyphen must follow "--", which ends the flags.
type Identity struct {
	Dialog      string `arg:"" optional:"" help:"dialogId of the webhook."`
	Node        string `arg:"" optional:"" help:"nodeId of the webhook."`
	Sequence    *int64 `placeholder:"N" help:"sequence of the webhook, a whole number; a negative one is given as --sequence=-5."`
	Fingerprint string `placeholder:"HEX" help:"Fingerprint of the webhook, in place of its three parts."`
}

// whole refuses an identity that lacks a part, and one that is given twice.
func (i Identity) whole() error {
	switch {
	case i.Fingerprint == "" && (i.Dialog == "" || i.Node == "" || i.Sequence == nil):
		return errors.New("which webhook? want DIALOG NODE --sequence=N, or --fingerprint")
	case i.Fingerprint != "" && i.given():
		return errors.New("which webhook? want DIALOG NODE --sequence=N or --fingerprint, not both")
	}
	return nil
}

func (i Identity) given() bool { return i.Dialog != "" || i.Node != "" || i.Sequence != nil }

const description = "One webhook, one execution, the same answer for every duplicate."

const closingNote = `
Try it, with two commands:
  oncegate        (in its source tree: go run .)
  curl -i localhost:8000/webhook/cognigy -H 'Content-Type: application/json' \
    -d '{"dialogId":"d-0001","nodeId":"n-0001","sequence":7}'
Send the second one twice: "success" comes first, then "cached" with the same data.
`

// Parse reads the command line, takes settings that it does not name from the environment, and validates them all. An
// error consists of sentences for a person and shows no secret. --help and --version print and exit with 0, unless the
// options (kong.Writers, kong.Exit) say otherwise.
func Parse(args []string, getenv func(string) string, version string, options ...kong.Option) (*CommandLine, error) {
	var line CommandLine
	sources := &sources{getenv: getenv}
	parser, err := kong.New(&line, slices.Concat([]kong.Option{
		kong.Name("oncegate"),
		kong.Description(description),
		kong.Vars{"version": "oncegate " + version},
		kong.Resolvers(sources),
		kong.ConfigureHelp(kong.HelpOptions{FlagsLast: true, WrapUpperBound: 100}),
		kong.Help(help),
		kong.ValueFormatter(withVariable),
	}, readers(), options)...)
	if err != nil {
		return nil, fmt.Errorf("command line: %w", err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return nil, sources.locate(inOurWords(err, args))
	}
	if sources.file != nil {
		if line.Tenants, err = sources.file.tenantsUnder(&line.Config); err != nil {
			return nil, err
		}
		line.Watched = append(sources.file.names(), line.files()...)
	}
	line.Command = parsed.Selected().Name
	return &line, nil
}

// Model returns the commands and the settings, for the manual page and the completions of shells. The help of a setting
// names its variable.
func Model() (*kong.Application, error) {
	parser, err := kong.New(new(CommandLine), append(readers(), kong.Name("oncegate"), kong.Description(description),
		kong.Vars{"version": ""})...)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	for _, flag := range parser.Model.Flags {
		flag.Help = withVariable(flag.Value)
	}
	return parser.Model, nil
}

// variable returns the environment variable of a flag. A flag outside of all groups is not a setting and has none: a
// VERSION or FORCE in somebody's environment must have no effect.
func variable(flag *kong.Flag) (name string, ok bool) {
	if flag == nil || flag.Group == nil {
		return "", false
	}
	return upperSnake(flag.Name), true
}

func upperSnake(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

func help(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil || ctx.Selected() != nil {
		return err
	}
	_, err := io.WriteString(ctx.Stdout, closingNote)
	return err
}

func withVariable(value *kong.Value) string {
	if name, ok := variable(value.Flag); ok {
		if isSecret(value.Flag) {
			name += ", $" + name + fileSuffix
		}
		return value.Help + " [$" + name + "]"
	}
	return value.Help
}

// secretive matches text that may hold a secret in the wrong place (oncegate REDIS_PASSWORD=…).
var secretive = regexp.MustCompile(`(?i)(password|secret|token|url|keys?|headers?)=|://`)

// inOurWords removes kong's words around the error of a bad value, and hides secrets in arguments that kong repeats.
func inOurWords(err error, args []string) error {
	if bad, ok := errors.AsType[badValue](err); ok {
		return bad
	}
	sentence := err.Error()
	for _, arg := range args {
		if secretive.MatchString(arg) {
			sentence = strings.ReplaceAll(sentence, arg, hidden)
		}
	}
	return errors.New(sentence)
}
