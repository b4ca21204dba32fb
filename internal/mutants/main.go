// Command mutants shows that the tests would notice if a rule were broken. Its lists (*.txt) hold one small fault of
// the code for each rule, and the tests that must fail with it. The command applies each fault to a copy of the tree,
// runs those tests, and expects them to fail.
//
//	go run ./internal/mutants                 all of them, from anywhere in the tree
//	go run ./internal/mutants -run journal    those whose list, rule or file matches a regular expression
//	go run ./internal/mutants -list           only says what there is
//
// It exits with 1 unless every mutant was killed. A mutant that no longer applies does not count as killed, so that the
// lists cannot become stale.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	which := flags.String("run", "", "only the mutants whose list, rule or file matches this regular expression")
	list := flags.Bool("list", false, "say what mutants there are, and run nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted, err := regexp.Compile(*which)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	all, err := readLists()
	if err != nil {
		return err
	}
	var chosen []mutant
	for _, m := range all {
		if wanted.MatchString(m.String() + " " + m.file) {
			chosen = append(chosen, m)
		}
	}
	if *list {
		for _, m := range chosen {
			fmt.Fprintln(out, m)
		}
		return nil
	}
	if len(chosen) == 0 {
		return errors.New("no mutant was chosen")
	}

	began := time.Now()
	benches := make([]*bench, min(runtime.NumCPU(), len(chosen)))
	for i := range benches {
		if benches[i], err = newBench(ctx, "."); err != nil {
			return err
		}
		defer benches[i].remove()
	}
	return judgeAll(ctx, benches, chosen, out, began)
}

// judgeAll deals the mutants out to benches that work at the same time. It writes a line for each mutant and a summary.
// It returns an error unless all of them were killed.
func judgeAll(ctx context.Context, benches []*bench, mutants []mutant, out io.Writer, began time.Time) error {
	var all sync.WaitGroup
	var mu sync.Mutex // guards counts and out
	counts := make(map[outcome]int)
	for n, b := range benches {
		all.Go(func() {
			var mine []mutant
			for i := n; i < len(mutants); i += len(benches) {
				mine = append(mine, mutants[i])
			}
			b.tryWithout(ctx, mine)
			for i := range mine {
				v := b.judge(ctx, &mine[i])
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				counts[v.outcome]++
				fmt.Fprintf(out, "%s\n\t%s\n", mine[i], v)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	fmt.Fprintf(out, "%d of %d mutants were killed, in %.0f s\n",
		counts[killed], len(mutants), time.Since(began).Seconds())
	if ctx.Err() != nil {
		return fmt.Errorf("broken off: %w", context.Cause(ctx))
	}
	if counts[killed] < len(mutants) {
		return fmt.Errorf("%d survived, %d do not apply, %d do not build, %d have tests that say nothing",
			counts[survived], counts[doesNotApply], counts[doesNotBuild], counts[saysNothing])
	}
	return nil
}
