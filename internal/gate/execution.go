package gate

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/span"
	"github.com/oncegate/oncegate/scripts"
)

var errShutdown = errors.New("shutdown")

// execution is one attempt of a fingerprint that this process won.
type execution struct {
	// Fixed at construction.
	flight   *flight
	webhook  Request
	token    string
	attempt  int64
	inDoubt  bool  // an attempt before this one may have had its effect
	failures int64 // of the attempts before this one
	cause    string
	began    time.Time
	lifetime lifetime     // the logic's context
	span     span.Execute // nil: nothing is traced

	// The executions' lock guards these.
	lease          link.Lease
	before, behind *execution // in the list of executions
	listed         bool

	fate      atomic.Uint32 // which goroutine has it: see below
	successor []byte        // the record of the later attempt in Redis; set before fate becomes lost or overtaken

	// Of the goroutine that runs the logic, and of the driver once it stores.
	result record.Result
	err    error
	took   time.Duration

	end  record.Record  // of the driver, once it stores
	kept *record.Record // end as it is stored: its result may be sealed
	note string         // for the trail

	storing span.Step // of the driver, from its first store on; nil: nothing is traced
}

// The fates of an execution. Only the driver that runs the logic takes it from won to runs, returned and ended. Only
// the keeper takes it to lost or overtaken. Whichever of the two comes second sees what the other has done.
const (
	fateWon uint32 = iota // its logic does not run yet
	fateRuns
	fateReturned  // its end is to be stored
	fateLost      // Redis has another attempt, and the logic still runs: the flight has another driver
	fateOvertaken // Redis has another attempt, and the logic does not run: it has returned, or never began
	fateEnded     // Redis and this replica are done with it
)

// begin gives a flight an execution under a lease that was won. The lease is renewed from before the logic starts until
// Redis knows its end, however long that takes, because an execution is given up only when it is known to have stopped.
func (b *bucket) begin(f *flight, w Request, won link.Won, answer scripts.Answer) {
	e := &execution{
		flight: f, webhook: w, token: f.token, attempt: answer.Attempt, inDoubt: answer.Doubt, failures: answer.Failures,
		cause: causeOf(answer), began: time.Now(), lease: b.link.Lease(won.Reply),
		err: errNotBegun,
	}
	e.lifetime.gate, e.lifetime.deadline = b.gate.life, e.began.Add(w.Tenant.ExecutionTimeout)
	e.traceBegin()
	f.execution = e // set before the keeper knows the execution
	w.Tenant.use.begun.Add(1)
	if e.cause == causeTakeover {
		b.gate.meters.takeovers.Add(1)
	}
	b.executions.add(e)
	if !b.link.Current(won.Epoch()) {
		b.link.WakeKeeper() // a healing that began after the claim was sent has not seen this execution
	}
}

// execute runs the logic. If the lease is lost meanwhile, the keeper hands the flight to a new driver, which goes on
// from here as a duplicate, and does not wait for the logic to return.
func (f *flight) execute() phase {
	b, e := f.bucket, f.execution
	switch {
	case e.fate.CompareAndSwap(fateWon, fateRuns):
		exits := true
		defer func() {
			if exits {
				f.exited(e)
			}
		}()
		e.run()
		exits = false
		if !e.fate.CompareAndSwap(fateRuns, fateReturned) {
			b.seeOff(e)
			return handedOver
		}
	case e.fate.Load() == fateLost: // this is the new driver
		return f.goOn(e.successor)
	}
	e.conclude(b)
	return storing
}

// exited hands the flight to a new driver, because the logic of an execution has ended this goroutine (runtime.Goexit).
// If the lease was lost before, the flight has a new driver already, and maybe another execution.
func (f *flight) exited(e *execution) {
	g := f.bucket.gate
	if e.fate.CompareAndSwap(fateRuns, fateReturned) {
		g.running.Add(1)
		g.drive(f)
	} else {
		g.running.Go(func() { f.bucket.seeOff(e) })
	}
}

// run runs the logic and notes how it ended, even if it panics or ends its goroutine.
func (e *execution) run() {
	defer e.lifetime.finish()
	e.err = errExited
	defer func() {
		if value := recover(); value != nil {
			e.err = &panicked{value, debug.Stack()}
		}
		e.took = time.Since(e.began)
		e.err = withCause(&e.lifetime, e.err)
	}()
	e.result, e.err = e.webhook.work.Run(e.context(), e.attempt, e.inDoubt)
}

// conclude turns what the logic returned into the record that ends the execution. The result is sealed once, so that
// each try stores the same bytes.
func (e *execution) conclude(b *bucket) {
	t := e.webhook.Tenant
	e.note = e.flight.noteOfEnd()
	if e.err == nil {
		if bad := e.result.Check(); bad != nil { // the logic has done its work
			e.err = fmt.Errorf("%w: %w", bad, record.ErrOutcomeUnknown)
		}
	}
	if e.err == nil && len(e.result.Body) > t.MaxResultBytes {
		e.err = fmt.Errorf("%w: %d bytes, MAX_RESULT_BYTES is %d", errTooLarge, len(e.result.Body), t.MaxResultBytes)
	}
	e.end = record.Record{
		State: record.Done, Attempt: e.attempt, Token: e.token, Digest: e.webhook.Digest, Result: e.result,
	}
	if e.err != nil {
		e.end.State, e.end.Result, e.end.Reason = record.Failed, record.Result{}, reason(e.err)
	}
	e.kept = &e.end
	if t.Seal != nil && e.err == nil && t.ttl(&e.end.Result) > 0 {
		sealed := t.Seal.Seal(b.place(t, e.flight.fingerprint), e.end)
		e.kept = &sealed
	}
}

var (
	errTooLarge = errors.New("the result is too large")
	errExited   = errors.New("the logic ended its goroutine (runtime.Goexit)")
	errNotBegun = &cancelled{errors.New("its lease was lost before the logic began"), record.ErrLeaseLost}
)

// panicked is the error of logic that panicked.
type panicked struct {
	value any
	stack []byte
}

// Error gives the text of the value only if the Go runtime made it: any other value may hold a webhook's variables,
// which must not get into a log.
func (p *panicked) Error() string {
	if err, ok := p.value.(runtime.Error); ok {
		return fmt.Sprintf("panic: %v", err)
	}
	return fmt.Sprintf("panic with a %T", p.value)
}

// The reasons of failed records that the gate itself writes or reads. The script decides which of them leave doubt
// about the execution, and which count against the webhook.
const (
	reasonError     = "error"      // the logic said so
	reasonRefused   = "refused"    // the logic did nothing
	reasonRejected  = "rejected"   // the result was a final refusal (4xx), told and not kept
	reasonUnstarted = "unstarted"  // the claim was won and the logic not begun
	reasonUnasked   = "unasked"    // nobody could say what became of the attempt in doubt before it
	reasonLeaseLost = "lease-lost" // another attempt has overtaken it
	reasonForgotten = "forgotten"  // a person wants it executed again
)

// cancelled is the error of logic that returned one after its context had ended.
type cancelled struct {
	error
	cause error
}

func (c *cancelled) Unwrap() error { return c.error }

// withCause adds to an error why the logic's context had ended, if it had.
func withCause(l *lifetime, err error) error {
	if err == nil {
		return nil
	}
	if cause := l.cause(); cause != nil {
		return &cancelled{err, cause}
	}
	return err
}

// reason returns the word for an error in a failed record.
func reason(err error) string {
	var cause error
	if c, ok := errors.AsType[*cancelled](err); ok {
		cause = c.cause
	}
	_, isPanic := errors.AsType[*panicked](err)
	switch {
	case isPanic:
		return "panic"
	case errors.Is(err, errTooLarge):
		return "too-large"
	case errors.Is(err, errExited):
		return "exited"
	// certain, no matter what ended the context
	case errors.Is(err, record.ErrRefused) && !errors.Is(err, record.ErrOutcomeUnknown):
		return reasonRefused
	case errors.Is(err, record.ErrUnasked):
		return reasonUnasked
	case errors.Is(cause, record.ErrTimeout):
		return "timeout"
	case errors.Is(cause, record.ErrLeaseLost):
		return reasonLeaseLost
	case cause != nil:
		return "shutdown"
	case errors.Is(err, record.ErrOutcomeUnknown):
		return "unknown"
	}
	return reasonError
}
