package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/scripts"
)

// errNotSent says that Redis can't have done anything of a call.
var errNotSent = errors.New("not sent")

// call commits operations in one call of the script, with the counters that are due. Its answers are in the order of
// the operations. An error means that no answer is known; errNotSent that nothing was done either.
func (g *Gate) call(ops []scripts.Op) (scripts.Reply, error) {
	return g.send(ops, g.counters.take(g.MetricsFlush, false))
}

func (g *Gate) send(ops []scripts.Op, flush scripts.Flush) (reply scripts.Reply, err error) {
	defer func() { g.counters.done(flush, err == nil && reply.Flushed) }()

	// Not the caller's context: what was begun is seen through, within one round trip.
	ctx, cancel := context.WithTimeout(context.Background(), g.RedisTimeout)
	defer cancel()
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return reply, fmt.Errorf("%d script calls under way: %w", maxInFlight, errNotSent)
	}

	reply, err = scripts.Run(ctx, g.client, scripts.Call{
		Metrics: g.Keys.Metrics(), Flushed: g.Keys.Flush(g.process),
		Settle: g.Settle, Lease: g.LockTTL, TTL: g.ResultTTL,
		Flush: flush, Ops: ops,
	})
	if err != nil {
		if g.health.silent.begin() {
			g.Log.Warn("redis does not answer", "error", err)
		}
		if notDone(err) {
			err = errors.Join(err, errNotSent)
		}
		return reply, err
	}
	g.heard(reply, flush.Number > 0)
	return reply, nil
}

// heard notes what every reply tells beside its answers.
func (g *Gate) heard(reply scripts.Reply, wrote bool) {
	now := time.Now()
	g.lastCall.Store(now.UnixNano())
	g.offset.Store(int64(reply.Now.Sub(now)))
	if d := g.health.silent.end(); d > 0 {
		g.Log.Info("redis answers again", "after", d)
	}
	if g.signals.told(reply.History) {
		g.Log.Warn("redis has another history: it may have forgotten records", "history", reply.History.ID)
	}
	took := wrote && reply.Flushed
	for _, a := range reply.Answers {
		switch a.Verdict {
		case scripts.Claimed, scripts.Renewed, scripts.Stored, scripts.Failed, scripts.Restored:
			took = true
		case scripts.Error:
			if g.health.refusing.begin() {
				g.Log.Error("redis refuses to write", "error", a.Text)
			}
		}
	}
	if took {
		if d := g.health.refusing.end(); d > 0 {
			g.Log.Info("redis takes writes again", "after", d)
		}
	}
}

// notDone reports whether a call failed before any of its operations: no connection could be made (refused, or not
// set up, which rueidis calls ErrNoCache), or Redis said no to the whole of it. Whatever raises in the script stands
// before the first operation.
func notDone(err error) bool {
	var dial *net.OpError
	var refused *rueidis.RedisError
	return errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, rueidis.ErrNoCache) || errors.As(err, &refused)
}

// health tells since when Redis does not do what it should.
type health struct {
	silent   spell // it does not answer
	refusing spell // it answers, but takes no writes
}

func (h *health) bad() bool { return h.silent.lasting() > 0 || h.refusing.lasting() > 0 }

func (h *health) over(d time.Duration) bool { return h.silent.over(d) || h.refusing.over(d) }

// spell is a time that has begun and not ended; its zero value has not begun.
type spell struct{ since atomic.Int64 } // Unix ns; 0: not begun

// begin reports whether it began now.
func (s *spell) begin() bool {
	return s.since.Load() == 0 && s.since.CompareAndSwap(0, time.Now().UnixNano())
}

// end returns how long it lasted, 0 where it had not begun.
func (s *spell) end() time.Duration {
	if s.since.Load() == 0 {
		return 0
	}
	return elapsed(s.since.Swap(0))
}

// lasting returns how long it has lasted, at least 1 ns, or 0 where it has not begun.
func (s *spell) lasting() time.Duration { return elapsed(s.since.Load()) }

// over reports whether it has lasted for as long as d.
func (s *spell) over(d time.Duration) bool {
	lasting := s.lasting()
	return lasting > 0 && lasting >= d
}

func elapsed(since int64) time.Duration {
	if since == 0 {
		return 0
	}
	return max(time.Since(time.Unix(0, since)), 1)
}
