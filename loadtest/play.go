package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/loadtest/stage"
	"github.com/oncegate/oncegate/loadtest/verdict"
)

// play is one run of a scenario.
type play struct {
	*scenario
	load
	seed     uint64
	rate     float64
	duration time.Duration
	slo      time.Duration
	tenant   string // the tenant of the webhooks; "": there are no tenants
	book     verdict.Book
	stage    *stage.Stage // nil: a person has named the targets
	progress io.Writer

	source  *source
	ledger  *verdict.Ledger
	report  *report
	watch   *watch
	noise   *verdict.Noise // of the other tenant; nil: there is none
	fastest time.Duration  // the shortest latency of an execution
}

// redisTimeout bounds one reading of the counters.
const redisTimeout = 2 * time.Second

func (p *play) openBook(ctx context.Context, url, prefix string, flush time.Duration) error {
	store, err := redis.Open(ctx, config.Redis{
		URL: config.Secret(url), KeyPrefix: prefix, Timeout: redisTimeout,
		Buckets: 1, // used only in a cluster where no gateway has run under the prefix and written down its own number
	}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("%w: %w", verdict.ErrUnreached, err)
	}
	p.book = verdict.Book{Client: store.Client, Keys: store.Keys, Flush: flush, Tenant: p.tenant}
	if p.kind == beside {
		p.book.Tenant = "" // both of them are judged
	}
	if p.stage != nil {
		p.book.Scrapes = p.stage.Scrapes()
	}
	return nil
}

// run plays the scenario, writes the report into dir, and returns errViolated if a promise was not kept.
func (p *play) run(ctx context.Context, dir string, out io.Writer) error {
	if err := p.checkSeed(ctx); err != nil {
		return err
	}
	before, err := p.book.Quiet(ctx, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", verdict.ErrUnreached, err)
	}
	title := fmt.Sprintf("%s: %s (seed %d, %g/s for %v)", p.name, p.about, p.seed, p.rate, p.duration)
	if p.report, err = newReport(dir, title); err != nil {
		return err
	}
	p.source, p.ledger = newSource(p.name, p.seed, p.tenant), verdict.NewLedger()
	p.watch = p.newWatch()
	notes, repeated, err := p.send(ctx)
	p.watch.end()
	p.report.memory = p.watch.memory
	if err != nil {
		return err
	}
	// Even if Ctrl-C ended the load early, the part that was sent is judged.
	after, err := p.book.Quiet(context.WithoutCancel(ctx), &before)
	if err != nil {
		return fmt.Errorf("%w: %w", verdict.ErrUnreached, err)
	}
	judged := verdict.Case{Ledger: p.ledger, Tenant: p.tenant, Before: before, After: after, Repeated: repeated}
	findings, unreached := judged.Judge()
	if p.noise != nil && unreached == nil {
		var more []verdict.Finding
		more, unreached = p.noise.Judge(&judged)
		findings = append(findings, more...)
	}
	if unreached == nil && p.stage == nil && p.fastest > 0 && p.fastest < p.delay {
		unreached = fmt.Errorf("%w: an execution took %v, and the scenario is about logic that takes %v: start the "+
			"replicas with ECHO_DELAY=%v",
			verdict.ErrUnreached, p.fastest, p.delay, p.delay)
	}
	if unreached != nil {
		notes = append(notes, unreached.Error())
	}
	if err := p.report.write(out, findings, append(notes, p.watch.grown()...)); err != nil {
		return err
	}
	if unreached != nil {
		return unreached
	}
	for _, f := range findings {
		if !f.Held {
			return errViolated
		}
	}
	return nil
}

// send delivers everything and returns notes for a person. repeated is how many deliveries an nginx sent to the
// replicas; 0 if there is none.
func (p *play) send(ctx context.Context) (notes []string, repeated int64, err error) {
	switch p.kind {
	case search:
		notes, err = p.search(ctx)
	case proxied:
		return p.sendThroughProxy(ctx)
	case beside:
		notes, err = p.sendBesideNoise(ctx)
	default:
		notes, err = p.sendOnce(ctx)
	}
	return notes, 0, err
}

func (p *play) sendOnce(ctx context.Context) (notes []string, err error) {
	late, err := p.deliver(ctx, newSchedule(p.scenario, p.source, p.rate, p.duration), p.name,
		func(r result) (bool, error) {
			return false, p.see(r)
		})
	if late > tooLate {
		notes = append(notes, fmt.Sprintf("note      this machine sent up to %v later than scheduled: it has too much to "+
			"do for this rate", late.Round(time.Millisecond)))
	}
	return notes, err
}

// tooLate is how late the load itself must be for the report to mention it, because lateness distorts the latencies.
const tooLate = 50 * time.Millisecond

// see adds a result to the ledger, the progress line and the report.
func (p *play) see(r result) error {
	a := r.answer()
	p.ledger.Note(a)
	if a.Outcome() == "executed" && (p.fastest == 0 || r.Latency < p.fastest) {
		p.fastest = r.Latency
	}
	p.watch.note(r.Latency, r.Error != "")
	return p.report.add(r)
}

// sendThroughProxy sends everything once, to an nginx, while the replicas behind it are killed in turn.
func (p *play) sendThroughProxy(ctx context.Context) (notes []string, repeated int64, err error) {
	url, err := p.stage.Proxy(ctx)
	if err != nil {
		return nil, 0, err
	}
	p.targets = []string{url + pathOf(p.tenant)}
	killing, end := context.WithCancel(ctx)
	defer end()
	type killed struct {
		times int
		err   error
	}
	done := make(chan killed, 1)
	go func() {
		times, err := p.stage.KillInTurn(killing, killEvery)
		done <- killed{times, err}
	}()
	notes, err = p.sendOnce(ctx)
	end()
	kills := <-done
	if err == nil {
		err = kills.err
	}
	if err != nil {
		return nil, 0, err
	}
	if repeated, err = p.stage.Tries(); err != nil {
		return nil, 0, err
	}
	return append(notes, fmt.Sprintf("note      %d replicas were killed and started again; nginx sent deliveries "+
		"on %d times", kills.times, repeated)), repeated, nil
}

// killEvery is the pause between a replica's return and the next kill.
const killEvery = time.Second

// checkSeed refuses a seed whose webhooks Redis remembers: they would be replayed, and nothing would be executed.
func (p *play) checkSeed(ctx context.Context) error {
	first := newSchedule(p.scenario, newSource(p.name, p.seed, p.tenant), p.rate, p.duration)
	for d, ok := first.next(); ok; d, ok = first.next() {
		if d.malformed {
			continue
		}
		known, err := p.book.Known(ctx, p.book.Keys.RecordOf(p.tenant, d.fingerprint))
		if err != nil {
			return fmt.Errorf("%w: %w", verdict.ErrUnreached, err)
		}
		if known {
			return fmt.Errorf("the webhooks of seed %d were sent before, and Redis remembers them: take another --seed", p.seed)
		}
		return nil
	}
	return nil
}
