package gate

import (
	"errors"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// store sends the end of the execution once. No caller is told of a success before Redis and the journal have it. After
// RedisPatience without a verdict of the script the callers are answered 503; their retries find the result.
func (f *flight) store() phase {
	b, e := f.bucket, f.execution
	if e.fate.Load() == fateOvertaken {
		return f.resume()
	}
	f.mark = b.forgets.mark()
	e.traceStore()
	reply := b.link.Do(e.ending().In(e.webhook.Tenant.class(b)).Noted(e.note))
	pause := f.pauses.Next()
	if reply.Err == nil {
		answer, ok := reply.After(func(a scripts.Answer, epoch link.Epoch) { b.journalEnd(e, a, epoch) })
		switch {
		case !ok:
			pause = 0 // repeated at once
		case answer.Verdict == scripts.Settling:
			pause = answer.Left
		case answer.Verdict == scripts.Error:
		default:
			return f.conclude(answer, reply.Epoch())
		}
	}
	if b.link.InTroubleFor(b.gate.options.RedisPatience) {
		f.stall()
	}
	if b.gate.life.Err() != nil {
		return f.conclude(scripts.Answer{Verdict: scripts.Error}, reply.Epoch())
	}
	f.listen()
	if e.fate.Load() != fateOvertaken { // otherwise it was told before
		f.wait(pause)
	}
	return storing
}

// ending returns the operation that ends an execution.
func (e *execution) ending() scripts.Op {
	switch {
	case e.end.State == record.Failed:
		return e.fail(e.end.Reason)
	case e.webhook.Tenant.ttl(&e.end.Result) == 0:
		return e.fail(reasonRejected)
	}
	return scripts.Store(e.flight.key, *e.kept)
}

func (e *execution) fail(reason string) scripts.Op {
	return scripts.Fail(e.flight.key, e.attempt, e.token, reason, e.webhook.Digest, e.inDoubt, e.failures)
}

// ttl returns how long a result answers duplicates; 0: it is not kept at all. A final refusal is kept for a shorter
// time, so that a wrong one does not stick.
func (r *Rules) ttl(of *record.Result) time.Duration {
	if of.Status >= 400 {
		return r.RejectedTTL
	}
	return r.ResultTTL
}

// journalEnd enters the end of an execution into the journal.
func (b *bucket) journalEnd(e *execution, a scripts.Answer, epoch link.Epoch) {
	now, t := b.link.Now(), e.webhook.Tenant
	e.end.Stored, e.end.Ends = now, now.Add(t.ttl(&e.end.Result))
	e.kept.Stored, e.kept.Ends = e.end.Stored, e.end.Ends
	switch a.Verdict {
	case scripts.Failed: // the script knows more of the record than the execution does
		if r, err := record.Parse(a.Record); err == nil {
			b.journal.add(t, e.flight.fingerprint, &r, epoch)
		}
	case scripts.Stored, scripts.Restored:
		b.journal.add(t, e.flight.fingerprint, e.kept, epoch)
	case scripts.Refused, scripts.Foreign:
		b.journal.drop(e.flight.fingerprint, e.token)
	}
}

// conclude lands on Redis' answer to the end of the execution, or goes on as a duplicate if Redis has another attempt.
func (f *flight) conclude(answer scripts.Answer, epoch link.Epoch) phase {
	b, e := f.bucket, f.execution
	b.executions.remove(e)
	t := e.webhook.Tenant
	t.use.executing.Add(-1)
	late := e.fate.Swap(fateEnded) == fateOvertaken
	b.report(e, late, answer.Verdict)
	if late {
		return f.goOn(e.successor)
	}
	l := landing{attempt: e.attempt}
	switch answer.Verdict {
	case scripts.Stored, scripts.Restored:
		b.gate.replayCache.keepUntracked(t, f.fingerprint, &e.end, epoch, f.mark)
		b.countResult(t, &e.end.Result)
		l.outcome, l.record = Executed, &e.end
	case scripts.Failed:
		l = e.failure(b)
	case scripts.Refused:
		return f.goOn(answer.Record)
	case scripts.Foreign:
		return f.landOnForeign(foreign(answer.Text), e.attempt)
	default: // the gate closes and Redis does not answer
		l.outcome = Unavailable
	}
	return f.land(l)
}

// failure returns the landing of an execution that ended without a result, or with a result that is not kept.
func (e *execution) failure(b *bucket) landing {
	if e.end.State == record.Done { // a final refusal that is told and not kept
		b.countResult(e.webhook.Tenant, &e.end.Result)
		return landing{outcome: Executed, attempt: e.attempt, record: &e.end}
	}
	l := landing{outcome: Failed, attempt: e.attempt, after: record.WaitOf(e.err)}
	switch {
	case errors.Is(e.err, record.ErrRefused):
		l.outcome = Refused
	case errors.Is(e.err, record.ErrUnasked) && e.webhook.Tenant.StopInDoubt:
		l.outcome = Doubtful
	}
	return l
}

// countResult counts a result that was reconciled or rejected.
func (b *bucket) countResult(t *Tenant, r *record.Result) {
	if r.Reconciled {
		b.count(t, link.Reconciled)
	}
	if r.Status >= 400 {
		b.count(t, link.Rejected)
	}
}

// resume leaves the execution, which has lost its lease, to a goroutine of its own, and goes on as a duplicate of what
// Redis has.
func (f *flight) resume() phase {
	b, e := f.bucket, f.execution
	b.gate.running.Go(func() { b.seeOff(e) })
	return f.goOn(e.successor)
}

// goOn goes on without an execution. If a person had the webhook forgotten, it is not executed again by itself.
func (f *flight) goOn(value []byte) phase {
	f.execution = nil
	if r, err := record.Parse(value); err == nil && r.Forgotten() {
		if next, ok := f.landOn(link.Told(f.bucket.link, r)); ok {
			return next
		}
	}
	f.token = f.bucket.gate.tokens.next()
	f.unstall()
	return claiming
}

// seeOff fails an execution that has lost its lease, once its logic has returned. Nothing of it may be stored, even if
// Redis forgets which attempt overtook it.
func (b *bucket) seeOff(e *execution) {
	again := link.Pauses()
	verdict := scripts.Error
	for verdict == scripts.Error {
		reply := b.link.Do(e.fail(reasonLeaseLost).In(e.webhook.Tenant.class(b)))
		if answer, ok := reply.Now(); ok && reply.Err == nil && answer.Verdict != scripts.Settling {
			verdict = answer.Verdict
		}
		if verdict == scripts.Error && sleep.For(b.gate.life, again.Next()) != nil {
			break
		}
	}
	b.executions.remove(e)
	e.webhook.Tenant.use.executing.Add(-1)
	b.report(e, true, verdict)
}

// stall answers all callers 503, and those that join from now on: the execution has ended, but its outcome cannot be
// stored.
func (f *flight) stall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = true
	f.tell((*caller).stays)
}

func (f *flight) unstall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = false
}
