package link

import (
	"context"
	"errors"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// Claim is what a flight asks Redis for under a token.
type Claim struct {
	Key, Token string
	Question   scripts.Question
	Class      *scripts.Class
	Note       string // for the trail, of a claim that begins an execution
	LookOnly   bool   // nothing may be executed now: what is done or in progress is answered as ever

	// SameBody reports whether the digest in a record is that of the question's body, which another replica may have
	// written in another way. Then it is asked again with that digest.
	SameBody func(found, own record.Digest) bool
}

// Won is the answer to a claim, which was current when it came.
type Won struct {
	Reply

	Scripted bool // the script has counted a replay, also if the first reply was lost
	Sent     bool // Redis may have executed the claim, whether or not there was an answer
}

// Claim asks until there is an answer of the current epoch, for RedisPatience at most, and not at all if Redis has been
// silent for that long. It gives up when life ends. ok is false without an answer: if the claim was sent, its token
// must be abandoned (Abandon).
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
			c.Question.First, won.Scripted = false, lost || reply.Counted // what was sent is executed in all likelihood
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
			pause = 0 // asked again at once
		}
		if time.Now().After(giveUp) || l.health.refusing.over(l.RedisPatience) || sleep.For(life, pause) != nil {
			break
		}
	}
	return won, false
}

// takes reports whether a reply to a claim is whole and current, and the lease that it won still runs. Then the cache
// may answer again, unless Redis settles.
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

// Whole makes sure that an answer of *done* carries its record, which a group's reply may have had no room for. ok is
// false if it cannot be had.
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
