package faults_test

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// history records what happened in a run. The callers, the backend and the nemesis write it, all by the clock of the
// test's process. Times count from the beginning of the run.
type history struct {
	began time.Time

	mu         sync.Mutex // guards the fields below, and the executions themselves until the run is over
	deliveries []delivery
	executions []*execution
	spells     []*spell
}

func (h *history) now() time.Duration { return time.Since(h.began) }

// life is one process of a replica: after a kill, the same replica has another life.
type life struct{ replica, number int }

func (l life) String() string { return fmt.Sprintf("%d.%d", l.replica, l.number) }

// delivery is one POST of a webhook, with its answer.
type delivery struct {
	hook     string
	to       life
	sent     time.Duration
	answered time.Duration
	code     int    // 0: no answer came
	status   string // Idempotency-Status
	attempt  int64
	data     string
}

// ending is how an execution ended at the backend.
type ending string

const (
	running ending = "running"
	done    ending = "done"   // the backend answered with a result
	failed  ending = "failed" // the backend answered with an error or closed the connection, as the test wanted
	cut     ending = "cut"    // the replica cancelled it, or died
)

// execution is one call of the backend.
type execution struct {
	hook       string
	by         life
	attempt    int64
	begin, end time.Duration
	ending     ending
	data       string // the result
}

// spell is a time in which something was broken.
type spell struct {
	kind     string
	replica  int // the replica that it hit; everybody: all of them
	effect   effect
	from, to time.Duration
}

const everybody = -1

// effect is the effect that a fault may have on the promises.
type effect int

const (
	harmless  effect = iota // it causes only errors and delays
	paused                  // the replica is stopped
	apart                   // the replica and Redis may not reach each other, or Redis takes no writes
	dead                    // the replica's process was killed
	forgetful               // Redis may lose data
)

func (h *history) delivered(d delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deliveries = append(h.deliveries, d)
}

func (h *history) begins(e *execution) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.begin, e.ending = h.now(), running
	h.executions = append(h.executions, e)
}

func (h *history) ends(e *execution, how ending, data string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.end, e.ending, e.data = h.now(), how, data
}

// broken opens a spell; mended closes it.
func (h *history) broken(kind string, replica int, e effect) *spell {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &spell{kind: kind, replica: replica, effect: e, from: h.now(), to: forever}
	h.spells = append(h.spells, s)
	return s
}

func (h *history) mended(s *spell) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.to = h.now()
}

const forever = time.Duration(1<<63 - 1)

// close ends the history: executions that still run get an end, and all lists are sorted by time.
func (h *history) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.executions {
		if e.ending == running {
			e.end = forever
		}
	}
	slices.SortFunc(h.deliveries, func(a, b delivery) int { return int(a.sent - b.sent) })
	slices.SortFunc(h.executions, func(a, b *execution) int { return int(a.begin - b.begin) })
	slices.SortFunc(h.spells, func(a, b *spell) int { return int(a.from - b.from) })
}
