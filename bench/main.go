// Bench compares Oncegate with a server that does nothing and with other ways in which a team could do this job. It
// runs on this machine, over loopback, with a separate redis-server for each contender. It starts and ends everything
// that it measures.
//
//	go run . [--quick] [--json FILE] [--svg FILE] [--only bare,oncegate,…]
//
// The load comes from the same machine, so requests/s is what server, Redis and load achieve together; the CPU time of
// a request is the server's alone. Machines differ, and one machine differs from minute to minute: compare ratios,
// which are formed within a round.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/oncegate/oncegate/bench/contender"
	"github.com/oncegate/oncegate/bench/load"
)

// Extent says how much is measured.
type Extent struct {
	Rounds       int
	Cells        []Cell
	Time         time.Duration // time of each cell in each round
	Bound        time.Duration // bound of the whole run
	Rest         time.Duration // part of Bound for everything after the comparison of speed
	Fingerprints int           // number of webhooks in the comparison of correctness
	Records      []int         // numbers of live records in the table of scale
	ScaleTime    time.Duration // time of each cell of that table
}

// quick takes about a minute, whole at most ten.
var (
	quick = Extent{
		Rounds: 2, Time: 200 * time.Millisecond, Bound: 5 * time.Minute, Rest: time.Minute, Fingerprints: 100,
		Cells: []Cell{
			{load.Storm, 4}, {load.Storm, 64}, {load.Storm, 512}, {load.Retries, 64},
			{load.FirstTime, 1}, {load.FirstTime, 4}, {load.FirstTime, 16}, {load.FirstTime, 64}, {load.FirstTime, 512},
		},
		Records: []int{1_000, 100_000}, ScaleTime: time.Second,
	}
	whole = Extent{
		Rounds: 5, Time: 500 * time.Millisecond, Bound: 10 * time.Minute, Rest: 3 * time.Minute, Fingerprints: 1_000,
		Cells: []Cell{
			{load.Storm, 4}, {load.Storm, 64}, {load.Storm, 512},
			{load.Retries, 4}, {load.Retries, 64}, {load.Retries, 512},
			{load.FirstTime, 1}, {load.FirstTime, 4}, {load.FirstTime, 16}, {load.FirstTime, 64}, {load.FirstTime, 512},
		},
		Records: []int{1_000, 100_000, 1_000_000}, ScaleTime: 3 * time.Second,
	}
)

// Bench is one run.
type Bench struct {
	Extent
	contenders []*contender.Contender
	bin        string // directory of the programs that were built
	sequences  *load.Sequences
	report     *Report
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	short := flag.Bool("quick", false, "two short rounds, in about a minute")
	jsonFile := flag.String("json", "", "write every sample to `FILE`")
	svgFile := flag.String("svg", "", "draw requests/s to `FILE`")
	only := flag.String("only", "", "contenders to measure, `a,b`; bare always is")
	flag.Parse()

	extent := whole
	if *short {
		extent = quick
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		return errors.New("it takes a redis-server: the Debian package redis-server")
	}
	if _, err := os.Stat("peers/bare"); err != nil {
		return errors.New("run it in bench/, as `make bench` does: it builds what stands beside it")
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	bin, err := os.MkdirTemp("", "oncegate-bench-bin-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	ctx, cancel := context.WithTimeoutCause(ctx, extent.Bound,
		fmt.Errorf("stopped after %v: the machine is too slow or too busy", extent.Bound))
	defer cancel()

	b := &Bench{Extent: extent, bin: bin, sequences: new(load.Sequences), report: newReport()}
	for _, c := range chosen {
		progress("building %s", c.Name)
		if err := c.Prepare(ctx, bin); err != nil {
			b.report.leaveOut(c.Name, err)
			progress("%s is left out: %v\n", c.Name, err)
			continue
		}
		b.contenders = append(b.contenders, c)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failed := b.measureSpeed(ctx)
	if ctx.Err() == nil {
		failed = errors.Join(failed, b.measureRight(ctx))
	}
	if ctx.Err() == nil {
		failed = errors.Join(failed, b.measureScale(ctx))
	}
	progress("")
	if ctx.Err() != nil {
		failed = context.Cause(ctx) // errors after the end of ctx only follow from it
	}
	b.report.Print(os.Stdout) // after an error too: it holds what was measured before
	return errors.Join(failed, b.report.write(*jsonFile, *svgFile))
}

// choose returns the contenders with these names, or all if no name is given.
func choose(only string) ([]*contender.Contender, error) {
	all := contender.All()
	if only == "" {
		return all, nil
	}
	names := append(strings.Split(only, ","), contender.Bare)
	var chosen []*contender.Contender
	var known []string
	for _, c := range all {
		known = append(known, c.Name)
		if slices.Contains(names, c.Name) {
			chosen = append(chosen, c)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("no contender is named %q; there are: %s", name, strings.Join(known, ", "))
		}
	}
	return chosen, nil
}

// progress rewrites the line on standard error that says what is being measured.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
}
