package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"github.com/tsenart/vegeta/v12/lib/plot"

	"github.com/oncegate/oncegate/loadtest/verdict"
)

// The files of a report.
const (
	resultsFile = "results.bin" // for vegeta report, vegeta plot and vegeta encode
	reportFile  = "report.txt"
	hdrFile     = "latency.hdr" // for HdrHistogram's plotter and other tools
	pageFile    = "report.html"
)

// buckets are those of the latency histogram.
var buckets = vegeta.Buckets{
	0, 500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
	20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
}

// report is written for a person, in a directory of its own.
type report struct {
	dir     string
	title   string
	raw     *os.File
	buffer  *bufio.Writer
	encoder vegeta.Encoder
	metrics vegeta.Metrics
	series
}

func newReport(dir, title string) (*report, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	raw, err := os.Create(filepath.Join(dir, resultsFile))
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	buffer := bufio.NewWriterSize(raw, 1<<16)
	return &report{
		dir: dir, title: title, raw: raw, buffer: buffer, encoder: vegeta.NewEncoder(buffer),
		metrics: vegeta.Metrics{Histogram: &vegeta.Histogram{Buckets: buckets}},
	}, nil
}

// add adds a result. The raw file keeps no bodies and headers; the verdict has seen them.
func (r *report) add(of result) error {
	r.metrics.Add(of.Result)
	r.series.add(of)
	bare := *of.Result
	bare.Body, bare.Headers = nil, nil
	if err := r.encoder.Encode(&bare); err != nil {
		return fmt.Errorf("writing %s: %w", r.raw.Name(), err)
	}
	return nil
}

// write completes the report with the findings, and prints it.
func (r *report) write(out io.Writer, findings []verdict.Finding, notes []string) error {
	r.metrics.Close()
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\n", r.title)
	failed := vegeta.NewTextReporter(&r.metrics).Report(&text)
	text.WriteByte('\n')
	failed = errors.Join(failed, vegeta.NewHistogramReporter(r.metrics.Histogram).Report(&text))
	text.WriteByte('\n')
	for _, note := range notes {
		fmt.Fprintln(&text, note)
	}
	for _, f := range findings {
		word := "VIOLATED"
		if f.Held {
			word = "held"
		}
		fmt.Fprintf(&text, "%-8s  %-10s  %s\n", word, f.Rule, f.Text)
	}
	if _, err := fmt.Fprintf(out, "%s\nreport    %s\n", text.String(), r.dir); err != nil {
		return err
	}
	return errors.Join(failed, r.buffer.Flush(), r.raw.Close(),
		r.file(reportFile, func(w io.Writer) error { _, err := io.WriteString(w, text.String()); return err }),
		r.file(hdrFile, vegeta.NewHDRHistogramPlotReporter(&r.metrics)),
		r.file(pageFile, func(w io.Writer) error { return r.page(w, text.String()) }))
}

func (r *report) file(name string, fill func(io.Writer) error) error {
	f, err := os.Create(filepath.Join(r.dir, name))
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", f.Name(), err)
	}
	return nil
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// page needs no other file: uPlot comes with vegeta.
func (r *report) page(w io.Writer, text string) error {
	script, err := asset("uPlot.min.js")
	if err != nil {
		return err
	}
	style, err := asset("uPlot.min.css")
	if err != nil {
		return err
	}
	return page.Execute(w, map[string]any{
		"Title": r.title, "JS": template.JS(script), "CSS": template.CSS(style), "Charts": r.charts(), "Report": text,
	})
}

func asset(name string) (string, error) {
	f, err := plot.Assets.Open(name)
	if err != nil {
		return "", fmt.Errorf("vegeta's %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(f)
	return string(text), err
}
