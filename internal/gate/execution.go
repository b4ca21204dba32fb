package gate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// ErrLeaseLost is the cause (context.Cause) for which an execution is cancelled when its lease is over by this
// replica's clock, or another attempt stands in Redis.
var ErrLeaseLost = errors.New("lease lost")

// ErrTimeout is the cause for which an execution is cancelled after ExecutionTimeout.
var ErrTimeout = errors.New("execution timeout")

// ErrOutcomeUnknown is wrapped by an error of logic that may have had its effect all the same: the next attempt is told.
var ErrOutcomeUnknown = errors.New("outcome unknown")

// ErrRefused is wrapped by an error of logic that did nothing and would not now: its callers are told to come again.
var ErrRefused = errors.New("nothing was done")

// ErrUnasked is wrapped, beside ErrOutcomeUnknown, by an error of logic that tried to find out what became of an earlier
// attempt, learned nothing certain, and executed nothing itself.
var ErrUnasked = errors.New("the backend was asked what became of an earlier attempt and gave no clear answer; " +
	"nothing was executed")

var errShutdown = errors.New("shutdown")

// execution is one attempt of a fingerprint that this process won.
type execution struct {
	flight  *flight
	webhook Webhook
	token   string
	attempt int64
	inDoubt bool // an attempt before this one may have had its effect
	cause   string

	failures int64 // of the attempts before this one

	ctx    context.Context
	cancel context.CancelCauseFunc

	lease lease       // guarded by leases.mu
	fence *time.Timer // cancels it when the lease is over

	ended atomic.Bool // its flight has got what it ended with, or has gone on without it
}

// execute runs the logic under a lease that was won, stores how it ended, and lands. The lease is renewed (keep.go)
// from before the logic starts until Redis knows its end, however long it takes: an execution is only ever given up by
// one that knows that it has stopped.
func (b *bucket) execute(f *flight, w Webhook, token string, won claim) {
	e := &execution{
		flight: f, webhook: w, token: token,
		attempt: won.Attempt, inDoubt: won.Doubt, failures: won.Failures, cause: won.cause(), lease: won.lease,
	}
	fenced, cancel := context.WithCancelCause(b.life)
	e.cancel = cancel
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(fenced, b.ExecutionTimeout, ErrTimeout)
	defer stop()
	e.ctx = ctx

	b.leases.add(e)
	if !b.believed(won.signals) {
		b.signals.wake() // a healing since the claim was sent has not seen this one
	}
	returned, began := false, time.Now()
	defer func() {
		if !returned { // the logic ended this goroutine (runtime.Goexit): another one sees its execution off
			took := time.Since(began)
			b.running.Go(func() { b.conclude(e, took, record.Result{}, errExited) })
		}
	}()
	result, err := e.run()
	returned = true
	b.conclude(e, time.Since(began), result, err)
}

// conclude stores how an execution ended, and lands. took is what the logic needed.
func (b *bucket) conclude(e *execution, took time.Duration, result record.Result, err error) {
	f, attempt, token := e.flight, e.attempt, e.token
	if err == nil {
		if bad := result.Check(); bad != nil { // its logic has done its work
			err = fmt.Errorf("%w: %w", bad, ErrOutcomeUnknown)
		}
	}
	if err == nil && len(result.Body) > b.MaxResultBytes {
		err = fmt.Errorf("%w: %d bytes, MAX_RESULT_BYTES is %d", errTooLarge, len(result.Body), b.MaxResultBytes)
	}
	end := record.Record{State: record.Done, Attempt: attempt, Token: token, Digest: e.webhook.Digest, Result: result}
	if err != nil {
		end.State, end.Result, end.Reason = record.Failed, record.Result{}, e.reason(err)
	}
	answer := b.finish(e, &end)
	b.leases.remove(e)
	b.executing.Add(-1)

	lost := !e.ended.CompareAndSwap(false, true)
	b.report(e, took, lost, answer.Verdict, &end, err)
	if lost {
		return // the flight has gone on
	}
	switch answer.Verdict {
	case scripts.Stored, scripts.Restored:
		b.seen.add(f.fingerprint)
		b.remark(result)
		b.land(f, landing{outcome: Executed, attempt: attempt, record: end})
	case scripts.Failed:
		if end.State == record.Done { // a refusal for good that is told and not kept
			b.remark(result)
			b.land(f, landing{outcome: Executed, attempt: attempt, record: end})
			return
		}
		outcome := Failed
		switch {
		case errors.Is(err, ErrRefused):
			outcome = Refused
		case errors.Is(err, ErrUnasked) && b.StopInDoubt:
			outcome = Doubtful
		}
		b.land(f, landing{outcome: outcome, attempt: attempt, after: waitOf(err)})
	case scripts.Refused:
		b.goOn(f, answer.Record)
	case scripts.Foreign:
		b.landOnForeign(f, foreign(answer.Text))
	default: // the gate closes and Redis does not answer
		b.land(f, landing{outcome: Unavailable, attempt: attempt})
	}
}

// remark counts what is worth knowing of a result.
func (b *bucket) remark(result record.Result) {
	if result.Reconciled {
		b.counters.add(reconciled)
	}
	if result.Status >= 400 {
		b.counters.add(rejected)
	}
}

// ttl is how long a result answers duplicates. A refusal does not answer as long, so that a wrong one does not stick; 0:
// it is not kept at all.
func (b *bucket) ttl(r record.Result) time.Duration {
	if r.Status >= 400 {
		return b.RejectedTTL
	}
	return b.ResultTTL
}

var (
	errTooLarge = errors.New("the result is too large")
	errExited   = errors.New("the logic ended its goroutine (runtime.Goexit)")
)

// panicked is a panic of the logic.
type panicked struct {
	value any
	stack []byte
}

// Error tells a value's text only where the runtime made it: any other may hold a webhook's variables, which must not
// get into a log.
func (p *panicked) Error() string {
	if err, ok := p.value.(runtime.Error); ok {
		return fmt.Sprintf("panic: %v", err)
	}
	return fmt.Sprintf("panic with a %T", p.value)
}

func (e *execution) run() (result record.Result, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicked{value, debug.Stack()}
		}
	}()
	return e.webhook.execute(e.ctx, e.attempt, e.inDoubt)
}

// The reasons of a failed record that the gate itself gives or looks for. Which of them leave doubt of what became of the
// execution, and which count against its webhook, is decided by the script.
const (
	reasonError     = "error"     // its logic said so
	reasonRefused   = "refused"   // it did nothing
	reasonRejected  = "rejected"  // its result was a refusal for good, told and not kept
	reasonUnstarted = "unstarted" // its claim was won and it was not begun
	reasonUnasked   = "unasked"   // nobody could say what became of the attempt in doubt before it
	reasonForgotten = "forgotten" // a person wants it executed again
)

// reason is the word that a failed record keeps of an error.
func (e *execution) reason(err error) string {
	var p *panicked
	switch cause := context.Cause(e.ctx); {
	case errors.As(err, &p):
		return "panic"
	case errors.Is(err, errTooLarge):
		return "too-large"
	case errors.Is(err, errExited):
		return "exited"
	case errors.Is(err, ErrRefused) && !errors.Is(err, ErrOutcomeUnknown): // certain, whatever ended the context
		return reasonRefused
	case errors.Is(err, ErrUnasked):
		return reasonUnasked
	case errors.Is(cause, ErrTimeout):
		return "timeout"
	case errors.Is(cause, ErrLeaseLost):
		return "lease-lost"
	case cause != nil:
		return "shutdown"
	case errors.Is(err, ErrOutcomeUnknown):
		return "unknown"
	}
	return reasonError
}

// finish repeats a store or a fail until it has an answer that can be believed, and that the journal has noted: no caller
// is told of a success before Redis has it. After RedisPatience without one its callers are let go; their retries find
// the result.
func (b *bucket) finish(e *execution, end *record.Record) scripts.Answer {
	key, ttl := e.flight.key, b.ttl(end.Result)
	kept := *end
	if ttl > 0 {
		kept = b.Seal.Seal(b.place(e.flight.fingerprint), kept) // once: each try stores the same bytes
	}
	again := retries()
	for pause := again.Next(); ; pause = again.Next() {
		var op scripts.Op
		switch {
		case e.ended.Load(): // its lease is lost: nothing of it may be stored, also where Redis forgets who has it
			op = e.fail("lease-lost")
		case end.State == record.Failed:
			op = e.fail(end.Reason)
		case ttl == 0:
			op = e.fail(reasonRejected)
		default:
			op = scripts.Store(key, kept, ttl)
		}
		signals := b.signals.raised.Load()
		if t := b.commit(op); t.err == nil {
			switch answer := t.answer; {
			case answer.Verdict == scripts.Settling:
				pause = answer.Left
			case answer.Verdict == scripts.Error:
			case b.believed(signals) && b.noted(e, &kept, answer, ttl, signals):
				end.Stored, end.Ends = kept.Stored, kept.Ends
				return answer
			default:
				pause = 0 // asked again at once
			}
		}
		if !e.ended.Load() && b.health.over(b.RedisPatience) { // else its flight has gone on without it
			e.flight.stall()
		}
		if sleep.For(b.life, pause) != nil {
			return scripts.Answer{Verdict: scripts.Error}
		}
	}
}

func (e *execution) fail(reason string) scripts.Op {
	return scripts.Fail(e.flight.key, e.attempt, e.token, reason, e.webhook.Digest, e.inDoubt, e.failures)
}

// noted enters how an execution ended into the journal. It reports false where a signal of a loss came before that: what
// was stored may be gone.
func (b *bucket) noted(e *execution, kept *record.Record, a scripts.Answer, ttl time.Duration, signals uint64) bool {
	now := b.redisNow()
	kept.Stored, kept.Ends = now, now.Add(ttl)
	switch {
	case e.ended.Load():
	case a.Verdict == scripts.Failed: // the script knows more of the record than its execution does
		if r, err := record.Parse(a.Record); err == nil {
			b.journal.add(e.flight.fingerprint, r, signals)
		}
	case a.Verdict == scripts.Stored, a.Verdict == scripts.Restored:
		b.journal.add(e.flight.fingerprint, *kept, signals)
	default:
		b.journal.drop(e.flight.fingerprint, e.token)
	}
	return b.believed(signals)
}

// lose ends an execution that another attempt has overtaken: its callers go on as duplicates of what stands in Redis,
// whenever the logic returns.
func (b *bucket) lose(e *execution, value []byte) {
	if !e.ended.CompareAndSwap(false, true) {
		return
	}
	b.Log.Warn("lease lost: another execution of this webhook has begun; this one is cancelled, and its result is not accepted", "fingerprint", e.flight.fingerprint, "attempt", e.attempt)
	e.cancel(ErrLeaseLost)
	b.running.Go(func() { b.goOn(e.flight, value) })
}

// goOn flies on without the execution that lost. What a person had forgotten is not run again by itself.
func (b *bucket) goOn(f *flight, value []byte) {
	if r, err := record.Parse(value); err == nil && r.Forgotten() && b.landOnRecord(f, r, b.signals.raised.Load()) {
		return
	}
	f.unstall()
	b.fly(f, false)
}

// stall lets the callers go: the execution has ended, but Redis can't be told. Who joins meanwhile is let go at once.
func (f *flight) stall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.stalled:
	default:
		close(f.stalled)
	}
}

func (f *flight) unstall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = make(chan struct{})
}
