package main

import (
	"bytes"
	"fmt"

	"github.com/oncegate/oncegate/bench/contender"
)

// The measures of the chart, in pixels.
const (
	chartPanel  = 330 // width of a cell's panel
	chartLabel  = 78  // part of the panel left of the bars
	chartValue  = 92  // part of the panel right of the longest bar
	chartBar    = 16
	chartTitle  = 34
	chartMargin = 16
	chartRow    = 3 // number of panels side by side
)

// Chart draws requests/s as SVG: a panel for each cell, a bar for each contender, and a line from the lowest to the
// highest sample. Each panel has its own scale.
func (r *Report) Chart() []byte {
	cells := r.cells()
	bars := 0
	for _, cell := range cells {
		count := 0
		for _, c := range contender.All() {
			count += min(len(r.Samples.of(cell, c.Name)), 1)
		}
		bars = max(bars, count)
	}
	panelHeight := chartTitle + bars*chartBar + chartMargin
	rows := (len(cells) + chartRow - 1) / chartRow
	width, height := chartMargin+chartRow*chartPanel, chartMargin+rows*panelHeight+chartMargin

	var svg bytes.Buffer
	fmt.Fprintf(&svg,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" `+
			`fill="#24292f">`+"\n",
		width, height)
	fmt.Fprintf(&svg, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	for i, cell := range cells {
		r.panel(&svg, cell, chartMargin+i%chartRow*chartPanel, chartMargin+i/chartRow*panelHeight)
	}
	fmt.Fprintf(&svg,
		`<text x="%d" y="%d" fill="#6e7781">requests/s, median of %d rounds, line: least to most; load, server and Redis `+
			`share %d CPUs</text>`+"\n",
		chartMargin, height-chartMargin/2, r.Rounds, r.CPUs)
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}

func (r *Report) panel(svg *bytes.Buffer, cell Cell, x, y int) {
	fmt.Fprintf(svg, `<text x="%d" y="%d" font-weight="bold">%s, %d connections</text>`+"\n", x, y+chartTitle/2,
		cell.Workload, cell.Connections)
	most := 0.0
	for _, c := range contender.All() {
		most = max(most, r.Samples.of(cell, c.Name).over(rate).Max)
	}
	scale := func(rate float64) float64 { return rate / most * (chartPanel - chartLabel - chartValue) }
	y += chartTitle - chartBar/2
	left := x + chartLabel
	for _, c := range contender.All() {
		of := r.Samples.of(cell, c.Name)
		if len(of) == 0 {
			continue
		}
		rates := of.over(rate)
		middle := float64(y) + chartBar/2
		fmt.Fprintf(svg, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, left-6, middle+4, c.Name)
		fmt.Fprintf(svg, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, left, y+2, scale(rates.Median),
			chartBar-4, colour(c))
		fmt.Fprintf(svg, `<path d="M%.1f %.1fH%.1f" stroke="#24292f"/>`, float64(left)+scale(rates.Min), middle,
			float64(left)+scale(rates.Max))
		fmt.Fprintf(svg, `<text x="%.1f" y="%.1f">%s</text>`+"\n",
			float64(left)+scale(rates.Max)+5, middle+4, thousands(rates.Median))
		y += chartBar
	}
}

// colour distinguishes Oncegate from its own variants, and those from all other contenders.
func colour(c *contender.Contender) string {
	switch c.Name {
	case "oncegate", "oncegate-2":
		return "#1a7f37"
	case "ungrouped", "uncached":
		return "#8ccf9c"
	case contender.Bare:
		return "#57606a"
	}
	return "#afb8c1"
}
