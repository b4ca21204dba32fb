package main

import (
	"slices"
	"time"

	"github.com/oncegate/oncegate/bench/load"
)

// Cell is one situation in which contenders are measured.
type Cell struct {
	Workload    load.Workload `json:"workload"`
	Connections int           `json:"connections"`
}

// Sample is the measurement of one contender in one cell of one round.
type Sample struct {
	Cell
	Contender string        `json:"contender"`
	Round     int           `json:"round"`
	Requests  int64         `json:"requests"`
	Errors    int64         `json:"errors"` // answers other than 200
	Rate      float64       `json:"requests_per_second"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	CPU       float64       `json:"cpu_us_per_request"`
	RedisCPU  float64       `json:"redis_cpu_us_per_request"`
}

// Spread summarises a value over the rounds.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spread returns the spread of values, or zero if there are none.
func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + median) / 2
	}
	return Spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// Samples are the samples of all rounds.
type Samples []Sample

// of returns a contender's samples in a cell, in the order of the rounds.
func (s Samples) of(cell Cell, contender string) Samples {
	var found Samples
	for _, sample := range s {
		if sample.Cell == cell && sample.Contender == contender {
			found = append(found, sample)
		}
	}
	return found
}

// over returns the spread of one value of the samples.
func (s Samples) over(value func(Sample) float64) Spread {
	values := make([]float64, len(s))
	for i, sample := range s {
		values[i] = value(sample)
	}
	return spread(values)
}

// ratio divides a value by another contender's value in the same round: what slows the machine down slows both. Rounds
// that have only one of them do not count.
func (s Samples) ratio(to Samples, value func(Sample) float64) Spread {
	var ratios []float64
	for _, sample := range s {
		for _, other := range to {
			if other.Round == sample.Round && value(other) > 0 {
				ratios = append(ratios, value(sample)/value(other))
			}
		}
	}
	return spread(ratios)
}

func rate(s Sample) float64     { return s.Rate }
func cpu(s Sample) float64      { return s.CPU }
func redisCPU(s Sample) float64 { return s.RedisCPU }
func p50(s Sample) float64      { return s.P50.Seconds() * 1e3 }
func p99(s Sample) float64      { return s.P99.Seconds() * 1e3 }
