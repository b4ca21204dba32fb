package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/scripts"
)

// ErrNotSent says that Redis cannot have done any of a call.
var ErrNotSent = errors.New("not sent")

// due returns the flush of counters that the next call should carry.
func (l *Link) due() scripts.Flush { return l.Counters.take(l.MetricsFlush, false) }

// send makes one call of the script, whose operations are set, with a flush. The answers are in the order of the
// operations. An error means that no answer is known; ErrNotSent also means that nothing was done.
func (l *Link) send(call *scripts.Call, flush scripts.Flush) (reply scripts.Reply, err error) {
	defer func() { l.Counters.done(flush, err == nil && reply.Flushed) }()

	// The caller's context is not used: a call that was begun is waited for, within one round trip.
	ctx, cancel := context.WithTimeout(context.Background(), l.RedisTimeout)
	defer cancel()
	select {
	case l.Slots.calls <- struct{}{}:
		defer func() { <-l.Slots.calls }()
	case <-ctx.Done():
		return reply, fmt.Errorf("%d script calls under way: %w", maxInFlight, ErrNotSent)
	}

	call.Metrics, call.Flushed, call.Settle, call.Lease = l.metrics, l.flushed, l.Settle, l.LockTTL
	call.Class, call.Acks, call.Timeout, call.Flush = l.Class, l.ReplicasAck, l.RedisTimeout, flush
	call.Trail = l.trail
	began := time.Now()
	reply, err = call.Run(ctx, l.Client)
	if len(call.Ops) > 0 {
		l.Calls.ObserveSince(began)
		l.Groups.Observe(float64(len(call.Ops)))
	}
	if err != nil {
		l.missed(err)
		if notDone(err) {
			err = notSent{err}
		}
		return reply, err
	}
	l.observe(reply, flush.Number > 0)
	return reply, nil
}

// Probe makes a call that writes, and returns the reason if it had no answer.
func (l *Link) Probe() error {
	_, err := l.send(new(scripts.Call), l.Counters.take(l.MetricsFlush, true))
	return err
}

// Touch makes the call that is due if nothing else calls. It is called at each tick of the keeper, and sends
//   - counters that are due;
//   - a probe, if Redis is in trouble;
//   - a heartbeat, if busy and the last answer is longer ago than quiet. A proxy can hide a failover from our
//     connection, but the reply to a heartbeat has the history.
func (l *Link) Touch(busy bool, quiet time.Duration) {
	inTrouble := l.InTrouble()
	flush := l.Counters.take(l.MetricsFlush, inTrouble)
	beat := busy && l.Settle > 0 && time.Since(time.Unix(0, l.lastCall.Load())) >= quiet
	if flush.Number > 0 || inTrouble || beat {
		_, _ = l.send(new(scripts.Call), flush) // send notes how Redis does
	}
}

// missed notes a call without a reply. The log has a line for the first one, and for each error by Redis itself that
// differs from the last: a Redis that is back but refuses the gateway's user must not look like one that is away.
func (l *Link) missed(err error) {
	code := ""
	if said, ok := errors.AsType[*rueidis.RedisError](err); ok {
		code, _, _ = strings.Cut(said.Error(), " ")
	}
	before, _ := l.health.said.Swap(code).(string)
	switch {
	case l.health.silent.begin() && code == "":
		l.Log.Warn("redis does not answer", "error", err)
	case code != "" && code != before:
		l.Log.Error("redis answers, and turns this gateway away: webhooks get 503", "error", err, "likely", redis.Likely(err))
	}
}

// observe notes what a reply tells besides its answers.
func (l *Link) observe(reply scripts.Reply, wrote bool) {
	now := time.Now()
	l.lastCall.Store(now.UnixNano())
	l.offset.Store(int64(reply.Now.Sub(now)))
	if d := l.health.silent.end(); d > 0 {
		l.health.said.Store("")
		l.Log.Info("redis answers again", "after", d)
	}
	if l.epochs.observe(reply.History) {
		l.Log.Warn("redis was restarted, failed over or flushed: new work waits until replicas have put back what it lost",
			"at_least", l.Settle, "replication_id", reply.History.ID)
	}
	if reply.Short {
		if l.health.refusing.begin() {
			l.Log.Error("too few replicas of redis acknowledge writes: nothing is begun or answered",
				"REPLICAS_ACK", l.ReplicasAck)
		}
		return
	}
	took := wrote && reply.Flushed
	for _, a := range reply.Answers {
		if a.Verdict == scripts.Restored {
			l.Restored.Add(1)
		}
		switch a.Verdict {
		case scripts.Claimed, scripts.Renewed, scripts.Stored, scripts.Failed, scripts.Restored:
			took = true
		case scripts.Error:
			l.refused(a.Text)
		}
	}
	if wrote && !reply.Flushed { // last, so that the words of Redis in the answers come first
		l.refused("it took no counters: it is full (OOM), a replica (READONLY), or can't save (MISCONF)")
	}
	if took {
		if d := l.health.refusing.end(); d > 0 {
			l.Log.Info("redis takes writes again", "after", d)
		}
	}
}

// refused notes that Redis refused a write, with its words.
func (l *Link) refused(words string) {
	if l.health.refusing.begin() {
		l.Log.Error("redis refuses writes: new work waits, then gets 503", "error", words)
	}
}

// saidBefore has the codes with which Redis, Valkey and Redis Cluster turn a call away before any of its script runs:
// the caller is not let in, the script is not known, the server loads or is busy, or another server has the keys. Codes
// that a command inside of a script can raise too (READONLY, OOM, MISCONF, NOREPLICAS, ERR) prove nothing, and are not
// listed.
var saidBefore = []string{
	"NOSCRIPT", "NOAUTH", "WRONGPASS", "NOPERM", "NOPROTO", "LOADING", "BUSY", "MASTERDOWN",
	"CLUSTERDOWN", "CROSSSLOT", "MOVED", "ASK", "TRYAGAIN",
}

// notDone reports whether a call certainly failed before any of its operations: no connection could be made (refused,
// or not set up, which rueidis calls ErrNoCache), or Redis turned the whole call away. An error that was raised inside
// of the script names its place in the script (user_script): operations before that place may have been done.
func notDone(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, rueidis.ErrNoCache) {
		return true
	}
	var refused *rueidis.RedisError
	if !errors.As(err, &refused) || strings.Contains(refused.Error(), "user_script") {
		return false
	}
	code, _, _ := strings.Cut(refused.Error(), " ")
	return slices.Contains(saidBefore, code)
}

// notSent marks the error of a call of which Redis has done nothing.
type notSent struct{ error }

func (e notSent) Unwrap() []error { return []error{e.error, ErrNotSent} }
