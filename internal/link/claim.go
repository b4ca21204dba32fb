package link

import (
	"context"
	"errors"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// Claim is a question to Redis under a flight's token.
type Claim struct {
	Key, Token string
	Question   scripts.Question
	Class      *scripts.Class
	Note       string // for the trail, if the claim begins an execution
	LookOnly   bool   // nothing may be executed now; a record done or in progress is answered as always

	// SameBody reports whether the digest in a record is of the question's body: another replica may have written it in
	// another way. If so, the claim is made again with that digest.
	SameBody func(found, own record.Digest) bool
}

// Won is the answer to a claim. It was current when it came.
type Won struct {
	Reply

	Scripted bool // the script has counted a replay, perhaps by a call whose reply was lost
	Sent     bool // Redis may have executed the claim, whether or not there was an answer
}

// Claim repeats a claim until an answer of the current epoch comes, for RedisPatience at most. If Redis has already
// been silent for that long, it does not ask at all. It gives up when life ends. Without an answer ok is false: if the
// claim was sent, its token must be abandoned (Abandon).
func (l *Link) Claim(life context.Context, c Claim) (won Won, ok bool) {
	var giveUp time.Time
	again := Pauses()
	for pause := again.Next(); !l.health.silent.over(l.RedisPatience); pause = again.Next() {
		op := scripts.Claim(c.Key, c.Token, c.Question).Noted(c.Note)
		if c.LookOnly {
			op = scripts.Look(c.Key, c.Question)
		}
		reply := l.Do(op.In(c.Class))
		if giveUp.IsZero() {
			giveUp = reply.Sent.Add(l.RedisPatience)
		}
		lost := reply.Err != nil && !errors.Is(reply.Err, ErrNotSent)
		won.Sent = won.Sent || !c.LookOnly && (lost || reply.Err == nil)
		if c.Question.First && (lost || reply.value.Verdict == scripts.Done) {
			c.Question.First, won.Scripted = false, lost || reply.Counted // a claim that was sent is very likely executed
		}
		if reply.Err == nil && reply.value.Verdict != scripts.Error {
			if reply.value.Verdict == scripts.Mismatch && c.SameBody(reply.value.Digest, c.Question.Digest) {
				c.Question.Digest = reply.value.Digest
				continue
			}
			if l.takes(c.Key, &reply) {
				won.Reply = reply
				return won, true
			}
			pause = 0 // repeated at once
		}
		if time.Now().After(giveUp) || l.health.refusing.over(l.RedisPatience) || sleep.For(life, pause) != nil {
			break
		}
	}
	return won, false
}

// takes reports whether the reply to a claim is whole and current, and the lease that it won still runs. From then on
// the cache may answer again, unless Redis settles.
func (l *Link) takes(key string, reply *Reply) bool {
	verdict := reply.value.Verdict
	if !l.Whole(key, reply) {
		return false
	}
	if _, current := reply.Now(); !current || verdict == scripts.Claimed && l.Lease(*reply).Over() {
		return false
	}
	if verdict != scripts.Settling {
		l.epochs.trust(reply.epoch)
	}
	return true
}

// Whole makes sure that the answer *done* carries its record, for which a group's reply may have had no room. ok is
// false if the record cannot be read.
func (l *Link) Whole(key string, reply *Reply) (ok bool) {
	if reply.value.Verdict != scripts.Done || len(reply.value.Record) > 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.RedisTimeout)
	defer cancel()
	value, err := l.Client.Do(ctx, l.Client.B().Get().Key(key).Build()).AsBytes()
	if err != nil {
		return false
	}
	reply.value.Record = value
	r, err := record.Parse(value)
	return err == nil && r.HasResult()
}
