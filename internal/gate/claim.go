package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/backoff"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// retries are the pauses after which a call that had no answer is repeated.
func retries() backoff.Backoff {
	return backoff.Backoff{First: 20 * time.Millisecond, Most: 400 * time.Millisecond}
}

// fly claims until this flight executes, or finds what another one left, or has nobody left to fly for. first: it is the
// first look of whom it flies for.
func (b *bucket) fly(f *flight, first bool) {
	token := b.tokens.next()
	for ; ; first = false {
		w, waits := b.nominate(f)
		if !waits {
			return
		}
		c, ok := b.claim(f, w, token, first)
		if !ok || b.life.Err() != nil {
			if ok && c.Verdict == scripts.Claimed { // won too late to run: a retry need not wait for its lease
				b.commit(scripts.Fail(f.key, c.Attempt, token, reasonUnstarted, w.Digest, c.Doubt, c.Failures))
				b.executing.Add(-1)
			}
			b.land(f, landing{outcome: Unavailable})
			return
		}
		switch c.Verdict {
		case scripts.Claimed:
			b.execute(f, w, token, c)
			return
		case scripts.Done:
			if b.landOn(f, c.Record, c.signals) {
				return
			}
		case scripts.InProgress:
			if r, signals, ended := b.watch(f, c.Left); ended && b.landOnRecord(f, r, signals) {
				return
			}
		case scripts.Settling:
			_ = sleep.For(b.life, c.Left)
		case scripts.Free:
			b.land(f, landing{outcome: c.refusal, after: c.wait})
			return
		case scripts.Poisoned, scripts.Doubtful:
			if b.landOn(f, c.Record, c.signals) {
				return
			}
		case scripts.Mismatch: // its caller goes, others may have the right body
		case scripts.Foreign:
			b.landOnForeign(f, foreign(c.Text))
			return
		default: // cancelled: the token was given up
			b.land(f, landing{outcome: Unavailable})
			return
		}
	}
}

// outcomeOf is what a verdict is to a caller.
func outcomeOf(v record.Verdict) Outcome {
	if v == record.Poisoned {
		return Poisoned
	}
	return Doubtful
}

// landOn lands on a value that Redis held. It does not, where a signal of a loss came meanwhile.
func (b *bucket) landOn(f *flight, value []byte, signals uint64) (landed bool) {
	r, err := record.Parse(value)
	if err != nil {
		b.landOnForeign(f, err)
		return true
	}
	return b.landOnRecord(f, r, signals)
}

// landOnRecord lands on a record that is done, that has a verdict, or that a person had forgotten. It does not, where a
// signal of a loss came before the journal had it.
func (b *bucket) landOnRecord(f *flight, r record.Record, signals uint64) (landed bool) {
	opened, err := b.open(f.fingerprint, r)
	if err != nil {
		b.land(f, landing{outcome: unopenedAs(err), attempt: r.Attempt})
		return true
	}
	b.journal.add(f.fingerprint, r, signals)
	if !b.believed(signals) {
		return false
	}
	if r.State == record.Failed {
		outcome := Processing // forgotten
		if r.Verdict != record.NoVerdict {
			outcome = outcomeOf(r.Verdict)
		}
		b.land(f, landing{outcome: outcome, attempt: r.Attempt})
		return true
	}
	b.seen.add(f.fingerprint)
	outcome := Replayed
	f.mu.Lock()
	if f.known {
		outcome = Waited
	}
	f.mu.Unlock()
	b.land(f, landing{outcome: outcome, attempt: r.Attempt, record: opened})
	return true
}

// foreign says of a value whether another version of ours wrote it.
func foreign(form string) error {
	if form == "" || form == "1" { // a broken line of ours is nobody's
		return record.ErrForeign
	}
	return fmt.Errorf("%w: its form is %s, and this version knows form 1 alone: run one version, or one that knows both", record.ErrForeign, form)
}

func (b *bucket) landOnForeign(f *flight, err error) {
	b.Log.Error("another program's value stands at a record's key, and its webhook gets 503: one of the two programs needs "+
		"another KEY_PREFIX", "key", f.key, "error", err)
	b.land(f, landing{outcome: Foreign})
}

// claim is the script's answer to one, and the lease by our own clock where it was won.
type claim struct {
	scripts.Answer
	refusal Outcome       // why nothing may be executed, where it only looked
	wait    time.Duration // for how long, where that is known
	lease   lease
	signals uint64 // raised when it was sent
}

// claim asks the script for the flight's candidate until there is an answer that can be believed. ok is false where
// Redis had none for RedisPatience; the token is then failed as soon as it is back.
func (b *bucket) claim(f *flight, w Webhook, token string, first bool) (c claim, ok bool) {
	refusal, wait, admitted := b.admit() // the same for all tries: one may have been executed
	c, scripted, sent, ok := b.ask(f.key, w.Digest, token, first, admitted)
	c.refusal, c.wait = refusal, wait
	if admitted && !(ok && c.Verdict == scripts.Claimed) {
		b.executing.Add(-1)
	}
	if !ok && sent {
		b.abandoned.add(abandonedClaim{key: f.key, token: token})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	candidate := f.candidate
	f.candidate = nil
	close(f.decided)
	if ok && (c.Verdict == scripts.Claimed || c.Verdict == scripts.InProgress) {
		if f.until = (time.Time{}); c.Verdict == scripts.InProgress {
			f.until = time.Now().Add(c.Left)
		}
		close(f.runs)
	}
	switch {
	case ok && c.Verdict == scripts.Claimed:
		candidate.executes, f.known, f.attempt = true, true, c.Attempt
		f.name(w.Digest)
	case ok && (c.Verdict == scripts.InProgress || c.Verdict == scripts.Mismatch):
		f.known = true
		f.name(c.Digest)
	case ok && c.Verdict == scripts.Done:
		candidate.scripted = scripted
	}
	if candidate.gone {
		b.count(f, candidate, candidate.told)
	}
	if ok && c.Verdict == scripts.Mismatch {
		candidate.gone = true // it will see that (differs); till then nothing is claimed for it again
	}
	return c, ok
}

// admit tells whether an execution may begin now, which then counts as one, or why not and for how long.
func (b *bucket) admit() (refusal Outcome, wait time.Duration, admitted bool) {
	if b.Admit != nil {
		if wait, ok := b.Admit(); !ok {
			return Refused, wait, false
		}
	}
	if b.executing.Add(1) > int64(b.MaxExecutions) && b.MaxExecutions > 0 {
		b.executing.Add(-1)
		return Overloaded, 0, false
	}
	return 0, 0, true
}

// ask repeats a claim under its token until it is answered, for RedisPatience at most; not at all where Redis has been
// silent for that long. scripted: the script counted a replay; also where the first reply was lost, since a call that was
// sent is executed in all likelihood. sent: Redis may have executed the claim.
//
// While nothing may be executed it only looks: what is done or in progress is served as ever.
func (b *bucket) ask(key string, digest record.Digest, token string, first, claims bool) (c claim, scripted, sent, ok bool) {
	giveUp := time.Now().Add(b.RedisPatience)
	again := retries()
	for pause := again.Next(); !b.health.silent.over(b.RedisPatience); pause = again.Next() {
		signals := b.signals.raised.Load()
		held := newLease(b.LockTTL) // counts from before the claim is sent
		q := scripts.Question{First: first, Digest: digest, Reject: b.RejectMismatch, Asks: b.Asks}
		var op scripts.Op
		if claims {
			op = scripts.Claim(key, token, q)
		} else {
			op = scripts.Look(key, q)
		}
		t := b.commit(op)
		answer, err := t.answer, t.err // without a reply it has no verdict
		lost := err != nil && !errors.Is(err, errNotSent)
		sent = sent || claims && (lost || err == nil)
		if first && (lost || answer.Verdict == scripts.Done) {
			first, scripted = false, lost || t.counted
		}
		if err == nil && answer.Verdict != scripts.Error {
			if answer.Verdict == scripts.Mismatch && b.sameBody(answer.Digest, digest) {
				digest = answer.Digest // of the same body, from a replica without keys
				continue
			}
			whole := answer.Verdict != scripts.Done || len(answer.Record) > 0 || b.fetch(key, &answer)
			if whole && b.believed(signals) && !(answer.Verdict == scripts.Claimed && held.over()) {
				if answer.Verdict != scripts.Settling {
					b.signals.settle(signals)
				}
				return claim{Answer: answer, lease: held, signals: signals}, scripted, true, true
			}
			pause = 0 // asked again at once
		}
		if time.Now().After(giveUp) || b.health.refusing.over(b.RedisPatience) || sleep.For(b.life, pause) != nil {
			break
		}
	}
	return c, false, sent, false
}

// fetch gets a done record that a group's reply had no room for.
func (b *bucket) fetch(key string, answer *scripts.Answer) (ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), b.RedisTimeout)
	defer cancel()
	value, err := b.client.Do(ctx, b.client.B().Get().Key(key).Build()).AsBytes()
	if err != nil {
		return false
	}
	answer.Record = value
	r, err := record.Parse(value)
	return err == nil && r.HasResult()
}

// believed reports whether no signal of a loss has come since there were as many.
func (b *bucket) believed(signals uint64) bool { return b.signals.raised.Load() == signals }

// abandoned are the claims that were given up without an answer: Redis may have executed them. They are failed when it
// answers again, however late: that they were never begun is known here alone, and a lease that ends leaves doubt.
type abandoned struct {
	mu     sync.Mutex
	claims []abandonedClaim
}

type abandonedClaim struct{ key, token string }

// maxAbandoned bounds the memory for them, to some 20 MB. What is over it is bounded by its lease alone.
const maxAbandoned = 1 << 16

func (a *abandoned) add(claims ...abandonedClaim) {
	a.mu.Lock()
	defer a.mu.Unlock()
	room := maxAbandoned - len(a.claims)
	a.claims = append(a.claims, claims[:min(room, len(claims))]...)
}

// take removes up to n claims.
func (a *abandoned) take(n int) (taken []abandonedClaim) {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken = slices.Clone(a.claims[:min(n, len(a.claims))])
	a.claims = a.claims[len(taken):]
	return taken
}
