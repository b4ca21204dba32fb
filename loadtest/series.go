package main

import (
	"maps"
	"slices"
	"time"
)

// series records what happened when, for the charts.
type series struct {
	points []point
	memory []sample
}

// point is a delivery and its answer.
type point struct {
	sent    time.Time
	latency time.Duration
	outcome string
}

// sample is the memory of each process at one time, in bytes.
type sample struct {
	at    time.Duration
	bytes map[string]int64 // by the process's name
}

func (s *series) add(r result) {
	a := r.answer()
	s.points = append(s.points, point{r.Timestamp, r.Latency, a.Outcome()})
}

// line is one line of a chart: one value for each of the chart's times, null if there is none.
type line struct {
	Name   string     `json:"name"`
	Values []*float64 `json:"values"`
}

// chart is a chart of lines over a common axis.
type chart struct {
	Title string    `json:"title"`
	Unit  string    `json:"unit"`
	X     []float64 `json:"x"` // seconds, or 1/(1-percentile)
	Lines []line    `json:"lines"`
	Log   bool      `json:"log"`  // the axis of values is logarithmic
	Tail  bool      `json:"tail"` // the other axis holds percentiles
}

// intervals bounds into how many intervals a chart is divided; none of them is shorter than interval.
const (
	intervals = 240
	interval  = 100 * time.Millisecond
)

// charts returns latency by the time of sending, and throughput by the time of the answer.
func (s *series) charts() []chart {
	if len(s.points) == 0 {
		return nil
	}
	began, ended := s.points[0].sent, s.points[0].sent
	for _, p := range s.points {
		if p.sent.Before(began) {
			began = p.sent
		}
		if end := p.sent.Add(p.latency); end.After(ended) {
			ended = end
		}
	}
	step := max(interval, ended.Sub(began)/intervals)
	count := int(ended.Sub(began)/step) + 1
	latencies := make([][]time.Duration, count)
	answers := map[string][]float64{}
	for _, p := range s.points {
		sent := p.sent.Sub(began)
		latencies[sent/step] = append(latencies[sent/step], p.latency)
		if answers[p.outcome] == nil {
			answers[p.outcome] = make([]float64, count)
		}
		answers[p.outcome][(sent+p.latency)/step] += 1 / step.Seconds()
	}
	x := make([]float64, count)
	p50, p99, most, sent := make([]*float64, count), make([]*float64, count), make([]*float64, count),
		make([]*float64, count)
	for i, of := range latencies {
		x[i] = (time.Duration(i) * step).Seconds()
		sent[i] = new(float64(len(of)) / step.Seconds())
		if len(of) == 0 {
			continue
		}
		slices.Sort(of)
		p50[i], p99[i], most[i] = ms(quantile(of, 0.50)), ms(quantile(of, 0.99)), ms(of[len(of)-1])
	}
	throughput := chart{Title: "Throughput", Unit: "answers/s", X: x, Lines: []line{{"sent", sent}}}
	for _, outcome := range slices.Sorted(maps.Keys(answers)) {
		values := make([]*float64, count)
		for i, v := range answers[outcome] {
			values[i] = &v
		}
		throughput.Lines = append(throughput.Lines, line{outcome, values})
	}
	all := []chart{
		{Title: "Latency, by when it was sent", Unit: "ms", X: x, Log: true, Lines: []line{{"max", most}, {"p99", p99},
			{"p50", p50}}},
		throughput,
		s.tail(),
	}
	if len(s.memory) > 1 {
		all = append(all, s.memories())
	}
	return all
}

// tail returns latency by percentile, as in HdrHistogram's plots.
func (s *series) tail() chart {
	all := make([]time.Duration, 0, len(s.points))
	for _, p := range s.points {
		all = append(all, p.latency)
	}
	slices.Sort(all)
	c := chart{Title: "Latency by percentile", Unit: "ms", Tail: true, Log: true, Lines: []line{{Name: "latency"}}}
	for beyond := 1.0; beyond <= float64(len(all)); beyond *= 1.2 {
		c.X = append(c.X, beyond)
		c.Lines[0].Values = append(c.Lines[0].Values, ms(quantile(all, 1-1/beyond)))
	}
	return c
}

func (s *series) memories() chart {
	c := chart{Title: "Memory", Unit: "MiB"}
	for _, name := range slices.Sorted(maps.Keys(s.memory[0].bytes)) {
		c.Lines = append(c.Lines, line{Name: name})
	}
	for _, sample := range s.memory {
		c.X = append(c.X, sample.at.Seconds())
		for i := range c.Lines {
			l := &c.Lines[i]
			l.Values = append(l.Values, new(float64(sample.bytes[l.Name])/(1<<20)))
		}
	}
	return c
}

// quantile returns a quantile of sorted values.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func ms(d time.Duration) *float64 { return new(float64(d) / float64(time.Millisecond)) }
