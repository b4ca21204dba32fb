package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/sleep"
)

// watch rewrites the progress line and samples the memory once a second.
type watch struct {
	out    io.Writer
	name   string
	began  time.Time
	look   func() map[string]int64 // memory by process; nil: the processes are not ours
	memory []sample
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	answered int
	errors   int
	recent   []time.Duration // latencies since the line was last written
}

func (p *play) newWatch() *watch {
	w := &watch{out: p.progress, name: p.name, began: time.Now()}
	if p.stage != nil {
		w.look = p.stage.Memory
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	w.done.Go(func() {
		for {
			w.sample()
			if sleep.For(ctx, time.Second) != nil {
				w.sample()
				fmt.Fprintln(w.out)
				return
			}
			w.line()
		}
	})
	return w
}

func (w *watch) end() {
	w.stop()
	w.done.Wait()
}

// note counts an answer. failure says that there was none, or that its status was not 200 to 399.
func (w *watch) note(latency time.Duration, failure bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered++
	w.recent = append(w.recent, latency)
	if failure {
		w.errors++
	}
}

func (w *watch) line() {
	w.mu.Lock()
	recent, answered, errors := w.recent, w.answered, w.errors
	w.recent = nil
	w.mu.Unlock()
	p99 := "-"
	if len(recent) > 0 {
		slices.Sort(recent)
		p99 = quantile(recent, 0.99).Round(10 * time.Microsecond).String()
	}
	fmt.Fprintf(w.out, "\r\033[K%s  %v  %d answered (%d/s)  p99 %s  %d not 2xx", w.name,
		time.Since(w.began).Round(time.Second),
		answered, len(recent), p99, errors)
}

func (w *watch) sample() {
	if w.look != nil {
		w.memory = append(w.memory, sample{at: time.Since(w.began), bytes: w.look()})
	}
}

// grown compares the memory at the end with the memory after a tenth of the time, when everything has started.
func (w *watch) grown() []string {
	if len(w.memory) < 2 {
		return nil
	}
	early, last := w.memory[len(w.memory)/10], w.memory[len(w.memory)-1]
	var notes []string
	for _, name := range slices.Sorted(maps.Keys(last.bytes)) {
		notes = append(notes, fmt.Sprintf("memory    %s: %.1f MiB after %v, %.1f MiB after %v", name, mib(early.bytes[name]),
			early.at.Round(time.Second), mib(last.bytes[name]), last.at.Round(time.Second)))
	}
	return notes
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
