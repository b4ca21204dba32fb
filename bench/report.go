package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/oncegate/oncegate/bench/contender"
)

// Report holds everything that a run measured.
type Report struct {
	Began   time.Time         `json:"began"`
	Go      string            `json:"go"`
	CPUs    int               `json:"cpus"`
	Rounds  int               `json:"rounds"` // number of complete rounds
	LeftOut map[string]string `json:"left_out,omitempty"`
	Samples Samples           `json:"samples"`
	Right   []Right           `json:"right"`
	Scale   []Scale           `json:"scale"`
}

func newReport() *Report {
	return &Report{Began: time.Now(), Go: runtime.Version(), CPUs: runtime.NumCPU(), LeftOut: map[string]string{}}
}

func (r *Report) leaveOut(name string, why error) { r.LeftOut[name] = why.Error() }

// cells returns the cells that have samples, in the order in which they were measured.
func (r *Report) cells() []Cell {
	var cells []Cell
	seen := map[Cell]bool{}
	for _, s := range r.Samples {
		if !seen[s.Cell] {
			seen[s.Cell] = true
			cells = append(cells, s.Cell)
		}
	}
	return cells
}

// Print writes the tables.
func (r *Report) Print(out io.Writer) {
	fmt.Fprintf(out, "%s, %d CPUs, %s; medians over %d rounds (least-most); ratios are within a round\n",
		r.Go, r.CPUs, r.Began.Format(time.DateOnly), r.Rounds)
	for _, c := range contender.All() {
		why, left := r.LeftOut[c.Name]
		switch {
		case left:
			fmt.Fprintf(out, "  %-11s %s: LEFT OUT: %s\n", c.Name, c.Title, why)
		case slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Contender == c.Name }):
			fmt.Fprintf(out, "  %-11s %s\n", c.Name, c.Title)
		}
	}
	r.printSpeed(out)
	r.printAgainst(out)
	r.printRight(out)
	r.printScale(out)
}

// table prints a title and rows whose cells are separated by tabs.
func table(out io.Writer, title string, rows func(line func(cells ...any))) {
	fmt.Fprintf(out, "\n%s\n\n", title)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	rows(func(cells ...any) {
		for _, cell := range cells {
			fmt.Fprintf(w, "%v\t", cell)
		}
		fmt.Fprintln(w)
	})
	_ = w.Flush() // a reader of the terminal or file sees what is missing
}

func (r *Report) printSpeed(out io.Writer) {
	if len(r.Samples) == 0 {
		return
	}
	table(out, "SPEED: CPU times are a request's, in µs; p50 and p99 in ms", func(line func(...any)) {
		line("workload", "conns", "contender", "requests/s", "", "p50", "p99", "CPU", "", "Redis CPU", "x bare req/s", "",
			"x bare CPU", "", "errors")
		for _, cell := range r.cells() {
			bare := r.Samples.of(cell, contender.Bare)
			for _, c := range contender.All() {
				of := r.Samples.of(cell, c.Name)
				if len(of) == 0 {
					continue
				}
				rates, cpus := of.over(rate), of.over(cpu)
				ofRate, ofCPU := of.ratio(bare, rate), of.ratio(bare, cpu)
				var wrong int64
				for _, s := range of {
					wrong += s.Errors
				}
				line(cell.Workload, cell.Connections, c.Name, thousands(rates.Median), between(rates, thousands),
					decimals(of.over(p50).Median), decimals(of.over(p99).Median), tenths(cpus.Median), between(cpus, tenths),
					tenths(of.over(redisCPU).Median), decimals(ofRate.Median), between(ofRate, decimals),
					decimals(ofCPU.Median), between(ofCPU, decimals), wrong)
			}
		}
	})
}

// against holds the contenders with which Oncegate is compared in a table of its own.
var against = []string{contender.Bare, "ungrouped", "uncached", "nginx", "fiber", "nethttp", "python"}

func (r *Report) printAgainst(out io.Writer) {
	if len(r.Samples) == 0 {
		return
	}
	table(out, "ONCEGATE'S requests/s as a multiple of", func(line func(...any)) {
		header := []any{"workload", "conns"}
		for _, name := range against {
			header = append(header, name)
		}
		line(header...)
		for _, cell := range r.cells() {
			own := r.Samples.of(cell, "oncegate")
			if len(own) == 0 {
				continue
			}
			row := []any{cell.Workload, cell.Connections}
			for _, name := range against {
				ratio := own.ratio(r.Samples.of(cell, name), rate)
				if ratio.Median == 0 {
					row = append(row, "-")
					continue
				}
				row = append(row, decimals(ratio.Median)+" "+between(ratio, decimals))
			}
			line(row...)
		}
	})
}

func (r *Report) printRight(out io.Writer) {
	if len(r.Right) == 0 {
		return
	}
	title := fmt.Sprintf("RIGHT, NOT ONLY FAST: two replicas, %d webhooks %d times each at once, logic of %v",
		r.Right[0].Fingerprints, rightTimes, rightDelay)
	table(out, title, func(line func(...any)) {
		line("contender", "deliveries", "executions beyond one", "answers that differ", "errors", "seconds")
		for _, right := range r.Right {
			line(right.Contender, right.Deliveries, right.Extra, right.Different, right.Errors, tenths(right.Elapsed.Seconds()))
		}
	})
}

func (r *Report) printScale(out io.Writer) {
	if len(r.Scale) == 0 {
		return
	}
	title := fmt.Sprintf("SCALE: Oncegate with live records in Redis, %d connections", scaleConnections)
	table(out, title, func(line func(...any)) {
		line("records", "first-time req/s", "p99 ms", "retries req/s", "p99 ms", "server RSS MiB",
			"Redis bytes a record beyond its payload")
		for _, s := range r.Scale {
			line(thousands(float64(s.Records)), thousands(s.FirstTime.Rate), decimals(p99(s.FirstTime)),
				thousands(s.Retries.Rate),
				decimals(p99(s.Retries)), s.Memory>>20, thousands(s.Overhead))
		}
	})
}

// write writes the files that were asked for.
func (r *Report) write(jsonFile, svgFile string) error {
	var failed error
	if jsonFile != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(jsonFile, append(text, '\n'), 0o644)
		}
		failed = err
	}
	if svgFile != "" {
		failed = errors.Join(failed, os.WriteFile(svgFile, r.Chart(), 0o644))
	}
	return failed
}

func between(s Spread, form func(float64) string) string {
	return "(" + form(s.Min) + "-" + form(s.Max) + ")"
}

func decimals(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }
func tenths(f float64) string   { return strconv.FormatFloat(f, 'f', 1, 64) }

// thousands returns a whole number with commas.
func thousands(f float64) string {
	digits := strconv.FormatFloat(f, 'f', 0, 64)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
