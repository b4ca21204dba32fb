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

// courier hands a schedule to vegeta, which sends at the scheduled time whether or not earlier deliveries were
// answered: a gateway that stalls is not spared, and the stall shows as latency.
type courier struct {
	schedule *schedule
	targets  []string
	header   http.Header
	began    time.Time
	due      chan delivery // one, until a worker takes it

	mu       sync.Mutex
	underway map[string]delivery // by number
	late     time.Duration       // the longest time by which one was sent too late
}

// A load is what every scenario is told.
type load struct {
	targets     []string
	header      http.Header
	connections int // to each target, at most
}

// result is what came of a delivery.
type result struct {
	*vegeta.Result
	delivery
}

// deliver sends a schedule, under a name, and shows every result, one at a time. It returns when all are answered:
// early if ctx ends, or if see says that it has seen enough.
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
			continue // it was stopped before it had a target
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

// Pace is vegeta's question how long to wait for the next delivery. It asks once for each.
func (c *courier) Pace(elapsed time.Duration, _ uint64) (wait time.Duration, stop bool) {
	d, ok := c.schedule.next()
	if !ok {
		return 0, true
	}
	c.due <- d
	return d.at - elapsed, false
}

// Rate is a part of vegeta's pacers that an attack does not ask for.
func (c *courier) Rate(time.Duration) float64 { return c.schedule.rate }

// target is vegeta's question what to send. The delivery's number is in the URL's fragment, which is not sent, but
// stands in the result.
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

// answer is a result as a verdict wants it.
func (r result) answer() verdict.Answer {
	return verdict.Answer{
		Delivery: uint64(r.number), Malformed: r.malformed, Fingerprint: r.fingerprint,
		Status: int(r.Code), Error: r.Error, Header: r.Headers, Body: r.Body,
	}
}
