package main

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/oncegate/oncegate/loadtest/verdict"
)

// courier hands a schedule to vegeta. vegeta sends each delivery at its time, whether or not earlier ones were
// answered: if a gateway stalls, the stall shows as latency.
type courier struct {
	schedule *schedule
	targets  []string
	header   http.Header
	began    time.Time
	due      chan delivery // holds one delivery until a worker takes it

	mu       sync.Mutex
	underway map[string]delivery // by their numbers
	late     time.Duration       // the longest time by which a delivery was sent too late
}

// load is the part that all scenarios share: the targets, and how they are loaded.
type load struct {
	targets     []string
	header      http.Header
	connections int // bound for each target
}

// result is the outcome of a delivery.
type result struct {
	*vegeta.Result
	delivery
}

// deliver sends a schedule, under a name, and passes every result to see, one at a time. It returns when all deliveries
// are answered, or earlier if ctx ends or see says that it has seen enough.
func (l *load) deliver(
	ctx context.Context, s *schedule, name string, see func(result) (enough bool, err error),
) (late time.Duration, err error) {
	attacker := vegeta.NewAttacker(
		vegeta.Connections(l.connections), vegeta.MaxConnections(l.connections), vegeta.Redirects(vegeta.NoFollow),
	)
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	c := &courier{
		schedule: s, targets: l.targets, header: l.header, began: time.Now(),
		due: make(chan delivery, 1), underway: map[string]delivery{},
	}
	for r := range attacker.Attack(c.target, c, 0, name) {
		d, ok := c.took(r.URL)
		if !ok {
			continue // the attack was stopped before this one had a target
		}
		enough, failed := see(result{r, d})
		if failed != nil && err == nil {
			err = failed
		}
		if enough || failed != nil {
			attacker.Stop()
		}
	}
	return c.late, err
}

// Pace tells vegeta how long to wait for the next delivery. vegeta asks once for each delivery.
func (c *courier) Pace(elapsed time.Duration, _ uint64) (wait time.Duration, stop bool) {
	d, ok := c.schedule.next()
	if !ok {
		return 0, true
	}
	c.due <- d
	return d.at - elapsed, false
}

// Rate completes vegeta's interface of pacers; an attack never calls it.
func (c *courier) Rate(time.Duration) float64 { return c.schedule.rate }

// target tells vegeta what to send. The number of the delivery is in the fragment of the URL: it is not sent, but it
// comes back with the result.
func (c *courier) target(t *vegeta.Target) error {
	d := <-c.due
	number := strconv.Itoa(d.number)
	t.Method, t.Body, t.Header = http.MethodPost, d.body, c.header
	t.URL = c.targets[d.number%len(c.targets)] + "#" + number
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underway[number] = d
	c.late = max(c.late, time.Since(c.began)-d.at)
	return nil
}

func (c *courier) took(url string) (delivery, bool) {
	_, number, _ := strings.Cut(url, "#")
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.underway[number]
	delete(c.underway, number)
	return d, ok
}

// answer returns a result in the form that a verdict needs.
func (r result) answer() verdict.Answer {
	return verdict.Answer{
		Delivery: uint64(r.number), Malformed: r.malformed, Fingerprint: r.fingerprint,
		Status: int(r.Code), Error: r.Error, Header: r.Headers, Body: r.Body,
	}
}
