package gate

import (
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// claim asks the script once, for the caller that has waited longest.
func (f *flight) claim() phase {
	b := f.bucket
	webhook, waits := b.flights.pickLeader(f)
	if !waits {
		return landed
	}
	f.tenant, f.span = webhook.Tenant, webhook.Span
	refusal, wait, admitted := b.admit(f.tenant)
	return f.ask(webhook, landing{outcome: refusal, after: wait}, admitted)
}

// ask sends the claim and acts on its answer. If no execution may begin now it only looks, and lands as refused if a
// claim would win.
func (f *flight) ask(webhook Request, refused landing, admitted bool) phase {
	b := f.bucket
	f.mark = b.forgets.mark()
	note, untold := f.noteOfClaim(&webhook)
	step := webhook.traceClaim()
	won, ok := b.link.Claim(b.gate.life, link.Claim{
		Key: f.key, Token: f.token, Note: note, LookOnly: !admitted, Class: f.tenant.class(b),
		Question: scripts.Question{
			First: !f.looked, Digest: webhook.Digest, Reject: f.tenant.RejectMismatch, Asks: f.tenant.Asks,
		},
		SameBody: f.tenant.isSameBody,
	})
	f.looked = true
	if !ok && won.Sent {
		b.link.Abandon(f.key, f.token, f.tenant.class(b))
	}
	answer, current := won.Now()
	current = current && ok
	if step != nil {
		step.End(claimEnd(answer, current))
	}
	f.take(webhook, won, answer, current)
	if current && answer.Verdict == scripts.Claimed {
		f.claimTold(untold)
	}
	closing := b.gate.life.Err() != nil
	if admitted && (!current || closing || answer.Verdict != scripts.Claimed) {
		f.tenant.use.executing.Add(-1) // counted before any caller is answered, who may come again
	}
	switch {
	case !ok, closing:
		if current && answer.Verdict == scripts.Claimed { // won too late to run: a retry need not wait for the lease
			b.link.Do(scripts.Fail(f.key, answer.Attempt, f.token, reasonUnstarted, webhook.Digest, answer.Doubt,
				answer.Failures).In(f.tenant.class(b)))
		}
		return f.land(landing{outcome: Unavailable})
	case !current:
		return claiming
	}
	switch answer.Verdict {
	case scripts.Claimed:
		b.begin(f, webhook, won, answer)
		return executing
	case scripts.Done, scripts.Poisoned, scripts.Doubtful:
		return f.landOnAnswer(won)
	case scripts.InProgress:
		now := time.Now()
		f.left, f.leaseEnds, f.asksAgain = answer.Left, now.Add(answer.Left), now.Add(lookAgain)
		return watching
	case scripts.Settling:
		f.left = answer.Left
		return settling
	case scripts.Free:
		return f.land(refused)
	case scripts.Limited:
		f.tenant.limit(b, answer.Left)
		return f.land(landing{outcome: Limited, after: answer.Left})
	case scripts.Mismatch: // the leader departs; another caller may have the right body
		return claiming
	case scripts.Foreign:
		return f.landOnForeign(foreign(answer.Text), 0)
	}
	return f.land(landing{outcome: Unavailable}) // cancelled: the token was given up
}

// landOnAnswer lands on the record that an answer carries.
func (f *flight) landOnAnswer(won link.Won) phase {
	fact, err := recordIn(won.Fact)
	if err != nil {
		return f.landOnForeign(err, 0)
	}
	if next, ok := f.landOn(fact); ok {
		return next
	}
	return claiming
}

// recordIn returns the record in an answer, which is as current as the answer. err: it is not one of ours.
func recordIn(answer link.Fact[scripts.Answer]) (r link.Fact[record.Record], err error) {
	r = link.Then(answer, func(a scripts.Answer) (parsed record.Record) {
		parsed, err = record.Parse(a.Record)
		return parsed
	})
	return r, err
}

// take notes what the answer to a claim says about the flight and about the caller that it was made for.
func (f *flight) take(webhook Request, won link.Won, answer scripts.Answer, current bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	leader := f.leader
	f.leader = nil
	if current && (answer.Verdict == scripts.Claimed || answer.Verdict == scripts.InProgress) {
		if f.runs, f.runsUntil = true, (time.Time{}); answer.Verdict == scripts.InProgress {
			f.runsUntil = time.Now().Add(answer.Left)
		}
	}
	switch {
	case !current:
	case answer.Verdict == scripts.Claimed:
		leader.executes, f.known, f.attempt = true, true, answer.Attempt
		f.setDigest(webhook.Digest)
	case answer.Verdict == scripts.InProgress, answer.Verdict == scripts.Mismatch:
		f.known = true
		f.setDigest(answer.Digest)
	case answer.Verdict == scripts.Done:
		leader.scripted = won.Scripted
	}
	if leader.departed {
		f.bucket.countCaller(f, leader, leader.told)
	}
	if current && answer.Verdict == scripts.Mismatch {
		leader.departed = true // it sees that itself (differs); until then nothing is claimed for it again
	}
	f.tell((*caller).heedsClaims)
}

// heedsClaims reports whether the answer to a claim may concern a caller before the flight has landed: its own Wait
// counts from that answer, or its body may be another one.
func (c *caller) heedsClaims() bool { return c.webhook.Wait != nil || c.webhook.Tenant.RejectMismatch }

// settle waits until Redis decides again.
func (f *flight) settle() phase {
	_ = sleep.For(f.bucket.gate.life, f.left)
	return claiming
}

// admit reports whether an execution may begin now, and if so counts it as begun. Otherwise it returns why not and for
// how long.
func (b *bucket) admit(t *Tenant) (refusal Outcome, wait time.Duration, admitted bool) {
	if t.Admit != nil {
		if wait, ok := t.Admit(); !ok {
			return Refused, wait, false
		}
	}
	if wait := t.limitedFor(b); wait > 0 {
		return Limited, wait, false
	}
	if t.use.executing.Add(1) > int64(t.MaxExecutions) && t.MaxExecutions > 0 {
		t.use.executing.Add(-1)
		return Overloaded, 0, false
	}
	return 0, 0, true
}
