package main

import (
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   Spread
	}{
		{"no round", nil, Spread{}},
		{"one", []float64{3}, Spread{3, 3, 3}},
		{"two", []float64{4, 2}, Spread{3, 2, 4}},
		{"five with one that was disturbed", []float64{10, 90, 11, 9, 12}, Spread{11, 9, 90}},
	} {
		if got := spread(c.values); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestARatioIsWithinARound(t *testing.T) {
	cell := Cell{Workload: "storm", Connections: 64}
	at := func(round int, contender string, rate float64) Sample {
		return Sample{Cell: cell, Contender: contender, Round: round, Rate: rate}
	}
	samples := Samples{
		at(1, "bare", 100), at(1, "gate", 90),
		at(2, "gate", 45), at(2, "bare", 50), // a round in which the machine had half the speed
		at(3, "gate", 70), // bare is missing
		at(4, "bare", 0), at(4, "gate", 1),
		{Cell: Cell{Workload: "storm", Connections: 4}, Contender: "bare", Round: 3, Rate: 1},
	}
	got := samples.of(cell, "gate").ratio(samples.of(cell, "bare"), rate)
	if want := (Spread{0.9, 0.9, 0.9}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := samples.of(cell, "gate").ratio(samples.of(cell, "nobody"), rate); got != (Spread{}) {
		t.Errorf("against nobody: %v", got)
	}
}

func TestTheTableHasARowForEachContenderInEachCell(t *testing.T) {
	cell := Cell{Workload: "storm", Connections: 64}
	report := Report{Samples: Samples{
		{Cell: cell, Contender: "bare", Round: 1, Rate: 50000, CPU: 20},
		{Cell: cell, Contender: "oncegate", Round: 1, Rate: 40000, CPU: 25, RedisCPU: 1.5},
	}}
	var out strings.Builder
	report.Print(&out)
	for _, want := range []string{"bare", "oncegate", "40,000", "0.80", "1.25"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if svg := string(report.Chart()); strings.Count(svg, "<rect") < 2 || !strings.HasSuffix(svg, "</svg>\n") {
		t.Errorf("the chart is %q", svg)
	}
}
