package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// callers send webhooks until they are told to stop. They repeat each one until it is answered with its result.
type callers struct {
	history  *history
	replicas []*replica
	client   *http.Client
	seed     uint64
	patience time.Duration // longest wait for an answer once nothing is broken any more

	stop     context.Context // when it ends, no new webhooks are sent
	deadline atomic.Int64    // Unix ns; a webhook without an answer by then is a violation; 0: not set yet
	answered atomic.Int64    // number of deliveries that got their result
	last     atomic.Int64    // when the last one did, since the beginning of the run
	gap      atomic.Int64    // the longest time in which none did
	longest  atomic.Int64    // the longest time that a delivery took with all its retries
	slowest  atomic.Pointer[string]
	running  sync.WaitGroup

	mu    sync.Mutex
	hooks []webhook       // all webhooks that were sent
	known map[string]bool // their names
	lost  []string        // names of webhooks that were never answered
}

const (
	callerTimeout = 6 * time.Second // above WAIT_TIMEOUT: a live gateway answers earlier
	hungUp        = 150 * time.Millisecond
)

func newCallers(stop context.Context, h *history, replicas []*replica, seed uint64, patience time.Duration) *callers {
	return &callers{
		history: h, replicas: replicas, seed: seed, patience: patience, stop: stop, known: make(map[string]bool),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second}},
	}
}

func (c *callers) start(crowd int, mix mix) {
	for n := range crowd {
		c.running.Go(func() { c.call(n, mix) })
	}
}

// mix says which kinds of webhooks a run sends, in numbers out of a thousand.
type mix struct {
	long     int // executions of 1 to 2 s
	veryLong int // executions of 4 to 5 s, longer than a lease
	failing  int // the first one or two executions fail
	twice    int // delivered to two replicas at once
	storm    int // delivered a dozen times at once
	again    int // a duplicate follows later, on any replica
	old      int // a duplicate of any earlier webhook follows
	shared   int // all callers send this one
}

var usual = mix{long: 15, veryLong: 4, failing: 60, twice: 150, storm: 15, again: 500, old: 400, shared: 20}

// errand is a caller's work on one webhook.
type errand struct {
	hook   webhook
	copies int // number of deliveries at once, in turn to each replica
	to     int // the replica of the first of these
	again  bool
	old    int // number of an earlier webhook of this caller to deliver again; -1: none
	later  int // the replica for a duplicate
}

// draw draws the i-th errand of a caller. It depends only on r, and not on the outcome of other errands.
func draw(r *rand.Rand, caller, i, replicas int, mix mix) errand {
	of := func(share int) bool { return r.IntN(1000) < share }
	e := errand{
		hook: webhook{DialogID: "caller-" + strconv.Itoa(caller), NodeID: "n", Sequence: i,
			Variables: plan{Takes: r.IntN(20)}},
		copies: 1, to: r.IntN(replicas), later: r.IntN(replicas), old: -1,
	}
	switch {
	case of(mix.long):
		e.hook.Variables.Takes = 1000 + r.IntN(1000)
	case of(mix.veryLong):
		e.hook.Variables.Takes = 4000 + r.IntN(1000)
	}
	if of(mix.failing) {
		e.hook.Variables.Fails = 1 + r.IntN(2)
	}
	if of(mix.shared) {
		e.hook = webhook{DialogID: "shared", NodeID: "n", Sequence: i / 20, Variables: plan{Takes: 5 * (i / 20 % 97)}}
	}
	switch {
	case of(mix.twice):
		e.copies = 2
	case of(mix.storm):
		e.copies = 12
	}
	e.again = of(mix.again)
	if of(mix.old) {
		e.old = r.IntN(i + 1)
	}
	return e
}

// webhooksOf returns the source from which a caller's errands are drawn.
func webhooksOf(seed uint64, caller int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(caller)))
}

// call is one caller.
func (c *callers) call(n int, mix mix) {
	webhooks := webhooksOf(c.seed, n)
	retries := rand.New(rand.NewPCG(^c.seed, uint64(n))) // a separate source: the number of retries depends on the clock
	var own []webhook
	for i := 0; c.stop.Err() == nil; i++ {
		e := draw(webhooks, n, i, len(c.replicas), mix)
		c.note(e.hook)
		own = append(own, e.hook)
		var wave sync.WaitGroup
		for k := range e.copies {
			its := rand.New(rand.NewPCG(retries.Uint64(), 0))
			wave.Go(func() { c.deliver(e.hook, e.to+k, its) })
		}
		wave.Wait()
		if e.again {
			c.deliver(e.hook, e.later, retries)
		}
		if e.old >= 0 {
			c.deliver(own[e.old], e.later+1, retries)
		}
	}
}

func (c *callers) note(hook webhook) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name := hook.name(); !c.known[name] {
		c.known[name] = true
		c.hooks = append(c.hooks, hook)
	}
}

// deliver sends a webhook to a replica, and again to any replica until it has its result.
func (c *callers) deliver(hook webhook, to int, retries *rand.Rand) {
	body, err := json.Marshal(hook)
	if err != nil {
		panic(err) // impossible: a struct of numbers and texts
	}
	first := c.history.now()
	for {
		limit := callerTimeout
		if retries.IntN(100) == 0 {
			limit = hungUp
		}
		if c.send(hook, body, c.replicas[to%len(c.replicas)], limit) {
			c.served(hook, first)
			return
		}
		if deadline := c.deadline.Load(); deadline != 0 && time.Now().UnixNano() > deadline {
			c.mu.Lock()
			c.lost = append(c.lost, hook.name())
			c.mu.Unlock()
			return
		}
		time.Sleep(time.Duration(10+retries.IntN(90)) * time.Millisecond) // as a flow does
		to = retries.IntN(len(c.replicas))
	}
}

// send sends a webhook once, and reports whether it got its result.
func (c *callers) send(hook webhook, body []byte, r *replica, limit time.Duration) bool {
	url, to := r.address()
	d := delivery{hook: hook.name(), to: to, sent: c.history.now()}
	d.code, d.status, d.attempt, d.data = c.post(url, body, limit)
	d.answered = c.history.now()
	c.history.delivered(d)
	return d.code == http.StatusOK
}

func (c *callers) post(
	url string, body []byte, limit time.Duration,
) (code int, status string, attempt int64, data string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/webhook/cognigy", bytes.NewReader(body))
	if err != nil {
		panic(fmt.Sprintf("request to %s: %v", url, err))
	}
	request.GetBody = nil // net/http must not repeat it unseen
	reply, err := c.client.Do(request)
	if err != nil {
		return 0, "", 0, ""
	}
	defer func() { _ = reply.Body.Close() }()
	text, err := io.ReadAll(reply.Body)
	var answer struct{ Data json.RawMessage }
	if err != nil || json.Unmarshal(text, &answer) != nil {
		return 0, "", 0, ""
	}
	attempt, _ = strconv.ParseInt(reply.Header.Get("Idempotency-Attempt"), 10, 64)
	return reply.StatusCode, reply.Header.Get("Idempotency-Status"), attempt, string(answer.Data)
}

// served records that a webhook, first sent at a given time, got its result.
func (c *callers) served(hook webhook, first time.Duration) {
	now := int64(c.history.now())
	c.answered.Add(1)
	most(&c.gap, now-c.last.Swap(now))
	if most(&c.longest, now-int64(first)) {
		name := hook.name()
		c.slowest.Store(&name)
	}
}

func most(of *atomic.Int64, value int64) (grown bool) {
	for seen := of.Load(); value > seen; seen = of.Load() {
		if of.CompareAndSwap(seen, value) {
			return true
		}
	}
	return false
}

// drain waits until all webhooks under way are answered, or until patience is over.
func (c *callers) drain() {
	c.deadline.Store(time.Now().Add(c.patience).UnixNano())
	c.running.Wait()
}

// audit delivers every webhook once more when nothing is broken: its result must still be stored.
func (c *callers) audit() {
	c.deadline.Store(time.Now().Add(c.patience).UnixNano())
	next := make(chan webhook)
	for n := range 16 {
		c.running.Go(func() {
			anywhere := rand.New(rand.NewPCG(c.seed, uint64(n)))
			for hook := range next {
				c.deliver(hook, anywhere.IntN(len(c.replicas)), anywhere)
			}
		})
	}
	for _, hook := range c.hooks {
		next <- hook
	}
	close(next)
	c.running.Wait()
	c.client.CloseIdleConnections()
}
