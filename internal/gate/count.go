package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// kind is what a request became, counted once, or a remark on it. Transitions are counted by the script.
type kind uint8

const (
	executed         kind = iota // the script counted its execution
	replayedByScript             // the script counted its replay
	replayedLocal                // from the client-side cache, without a round trip
	replayed                     // found done otherwise
	waited                       // waited for another's execution and got its outcome
	stillProcessing              // waited in vain
	unopened                     // the script counted a replay, and the result could not be opened
	unavailable                  // neither an execution nor a duplicate
	refused                      // of those: since nothing is executed at the moment
	overloaded                   // of those: since too much is under way
	poisoned                     // of those: since its executions failed too often
	doubtful                     // of those: since an attempt is in doubt
	lateAnswer                   // remark: a first caller left before its own execution ended
	mismatch                     // remark: a duplicate with another body than the first
	rejected                     // remark: an execution whose result is a refusal for good
	reconciled                   // remark: an execution that only asked what an earlier one had brought
	malformed                    // no webhook: its payload, or its HTTP, made no sense
	unauthorized                 // no webhook: it showed no key
	kinds
)

// fields are the counters of the metrics hash that one of a kind adds to, or behind a minus sign takes from.
var fields = [kinds][]string{
	executed:         {"total_requests"},
	replayedByScript: {"total_requests"},
	replayedLocal:    {"total_requests", "duplicates", "replayed", "replayed_local"},
	replayed:         {"total_requests", "duplicates", "replayed"},
	waited:           {"total_requests", "duplicates", "waited"},
	stillProcessing:  {"total_requests", "duplicates", "still_processing"},
	unopened:         {"total_requests", "unavailable", "-duplicates", "-replayed"},
	unavailable:      {"total_requests", "unavailable"},
	refused:          {"total_requests", "unavailable", "refused"},
	overloaded:       {"total_requests", "unavailable", "overloaded"},
	poisoned:         {"total_requests", "unavailable", "poisoned"},
	doubtful:         {"total_requests", "unavailable", "doubtful"},
	lateAnswer:       {"late_answers"},
	mismatch:         {"mismatches"},
	rejected:         {"rejected"},
	reconciled:       {"reconciled"},
	malformed:        {"malformed"},
	unauthorized:     {"unauthorized"},
}

// counters add up in memory what no script call saw. It rides on a script call as a numbered flush: one at a time is on
// its way, and it is sent again as it was until Redis has taken it.
type counters struct {
	tally [kinds]atomic.Int64

	mu      sync.Mutex
	last    scripts.Flush // the newest flush, taken or not
	pending bool          // it is not known to be taken
	sent    bool          // a call that carries it is under way
	begun   time.Time     // when it was made
}

func (c *counters) add(k kind) { c.tally[k].Add(1) }

// CountMalformed counts a request that was turned away for what it says (400), and CountUnauthorized one that showed no
// key (401). They have no fingerprint, and count in the first bucket. Strangers may send them, so that they cost Redis no
// more than a share of the flush that is due.
func (g *Gate) CountMalformed() { g.countOutside(malformed) }

// CountUnauthorized is like CountMalformed.
func (g *Gate) CountUnauthorized() { g.countOutside(unauthorized) }

func (g *Gate) countOutside(k kind) {
	if g.started.Load() {
		g.buckets[0].counters.add(k)
	}
}

// take returns the flush that should ride on a call, if any: one that is due (nothing since), one that failed before,
// or, where probe is set, one without counters: a write that shows whether Redis takes any.
func (c *counters) take(every time.Duration, probe bool) scripts.Flush {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent {
		return scripts.Flush{}
	}
	if !c.pending {
		if !probe && time.Since(c.begun) < every {
			return scripts.Flush{}
		}
		grown := c.drain()
		if len(grown) == 0 && !probe {
			return scripts.Flush{}
		}
		c.last = scripts.Flush{Number: c.last.Number + 1, Counters: grown}
		c.pending, c.begun = true, time.Now()
	}
	c.sent = true
	return c.last
}

// done notes what became of a flush that take returned.
func (c *counters) done(f scripts.Flush, taken bool) {
	if f.Number == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = false
	c.pending = !taken
}

// drain empties the tally into one increment a field.
func (c *counters) drain() []scripts.Increment {
	var grown []scripts.Increment
	for k := range c.tally {
		n := c.tally[k].Swap(0)
		if n == 0 {
			continue
		}
		for _, field := range fields[k] {
			if counted, less := strings.CutPrefix(field, "-"); less {
				grown = grow(grown, counted, -n)
			} else {
				grown = grow(grown, field, n)
			}
		}
	}
	return grown
}

func grow(grown []scripts.Increment, field string, n int64) []scripts.Increment {
	for i := range grown {
		if grown[i].Field == field {
			grown[i].By += n
			return grown
		}
	}
	return append(grown, scripts.Increment{Field: field, By: n})
}

func (c *counters) empty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending {
		return false
	}
	for k := range c.tally {
		if c.tally[k].Load() != 0 {
			return false
		}
	}
	return true
}

// flushAll sends what is left at the end, for as long as Redis might need to come back to it.
func (b *bucket) flushAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*b.RedisTimeout)
	defer cancel()
	for again := retries(); ; {
		_, err := b.send(nil, b.counters.take(0, false))
		if b.counters.empty() {
			return nil
		}
		if late := sleep.For(ctx, again.Next()); late != nil {
			return fmt.Errorf("counters that redis did not take are lost: %w", errors.Join(err, late))
		}
	}
}
