package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/scripts"
)

// Kind is what a request became, counted once, or a remark on it. Transitions are counted by the script.
type Kind uint8

// The kinds.
const (
	Executed         Kind = iota // the script counted its execution
	ReplayedByScript             // the script counted its replay
	ReplayedLocal                // from the client-side cache, without a round trip
	Replayed                     // found done otherwise
	Waited                       // waited for another's execution and got its outcome
	StillProcessing              // waited in vain
	Unopened                     // the script counted a replay, and the result could not be opened
	Unavailable                  // neither an execution nor a duplicate
	Refused                      // of those: since nothing is executed at the moment
	Limited                      // of those: since its tenant has begun as many executions as it may
	Overloaded                   // of those: since too much is under way
	Poisoned                     // of those: since its executions failed too often
	Doubtful                     // of those: since an attempt is in doubt
	LateAnswer                   // remark: a first caller left before its own execution ended
	Mismatch                     // remark: a duplicate with another body than the first
	Rejected                     // remark: an execution whose result is a refusal for good
	Reconciled                   // remark: an execution that only asked what an earlier one had brought
	Malformed                    // no webhook: its payload, or its HTTP, made no sense
	Unauthorized                 // no webhook: it showed no key
	Forbidden                    // no webhook: it came from an address that is not let in
	Unsigned                     // no webhook: its signature is missing or wrong
	Unknown                      // no webhook: it is for a tenant that is none
	ReloadFailed                 // no webhook: a file of settings that was not taken
	kinds
)

// fields are the counters of the metrics hash to which one of a kind adds, or from which it takes (with a minus sign).
var fields = [kinds][]string{
	Executed:         {"total_requests"},
	ReplayedByScript: {"total_requests"},
	ReplayedLocal:    {"total_requests", "duplicates", "replayed", "replayed_local"},
	Replayed:         {"total_requests", "duplicates", "replayed"},
	Waited:           {"total_requests", "duplicates", "waited"},
	StillProcessing:  {"total_requests", "duplicates", "still_processing"},
	Unopened:         {"total_requests", "unavailable", "-duplicates", "-replayed"},
	Unavailable:      {"total_requests", "unavailable"},
	Refused:          {"total_requests", "unavailable", "refused"},
	Limited:          {"total_requests", "unavailable", "limited"},
	Overloaded:       {"total_requests", "unavailable", "overloaded"},
	Poisoned:         {"total_requests", "unavailable", "poisoned"},
	Doubtful:         {"total_requests", "unavailable", "doubtful"},
	LateAnswer:       {"late_answers"},
	Mismatch:         {"mismatches"},
	Rejected:         {"rejected"},
	Reconciled:       {"reconciled"},
	Malformed:        {"malformed"},
	Unauthorized:     {"unauthorized"},
	Forbidden:        {"forbidden"},
	Unsigned:         {"unsigned"},
	Unknown:          {"unknown_tenants"},
	ReloadFailed:     {"reloads_failed"},
}

// Totals are how many of each kind a process has counted since it began.
type Totals [kinds]int64

// Totals returns those of now. No total is ever lower than it was.
func (c *Counters) Totals() Totals {
	c.mu.Lock()
	defer c.mu.Unlock()
	totals := c.drained
	for k := range c.of {
		totals[k] += c.of[k].Load()
	}
	return totals
}

// Counters add up in memory what no script call saw. The sums ride on a script call as a numbered flush. Only one flush
// is on its way at a time, and it is sent again as it was until Redis has taken it: so nothing is counted twice or
// lost, also if a reply is.
type Counters struct {
	Tally // of all requests

	tenants tallies

	mu      sync.Mutex
	last    scripts.Flush // the newest flush, taken or not
	pending bool          // it is not known to be taken
	sent    bool          // a call that carries it is under way
	begun   time.Time     // when it was made
}

// Tally is how many of each kind there were since the last flush.
type Tally struct {
	of      [kinds]atomic.Int64
	drained Totals // into flushes before that; the lock of the counters guards it
}

// Add counts one of a kind.
func (t *Tally) Add(k Kind) { t.of[k].Add(1) }

func (t *Tally) empty() bool {
	for k := range t.of {
		if t.of[k].Load() != 0 {
			return false
		}
	}
	return true
}

// tallies are those of tenants, whose requests are counted among all and by themselves.
type tallies struct {
	mu     sync.Mutex
	byName map[string]*namedTally
	order  []*namedTally
	next   int // in the order: the first of the next flush, so that each comes to its turn
}

type namedTally struct {
	Tally
	before string // each field's name
}

// Of returns the tally of a tenant, whose fields have the tenant's name and a slash before them.
func (c *Counters) Of(tenant string) *Tally {
	t := &c.tenants
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.byName[tenant]
	if known == nil {
		known = &namedTally{before: tenant + "/"}
		if t.byName == nil {
			t.byName = map[string]*namedTally{}
		}
		t.byName[tenant], t.order = known, append(t.order, known)
	}
	return &known.Tally
}

// drain adds what tenants have counted, up to the bound of a flush. What has no room comes with the next one.
func (t *tallies) drain(grown []scripts.Increment) []scripts.Increment {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range t.order {
		n := t.order[t.next%len(t.order)]
		if len(grown) > scripts.MaxIncrements-mostFields {
			break
		}
		t.next++
		if !n.empty() {
			grown = append(grown, n.drain(n.before)...)
		}
	}
	return grown
}

func (t *tallies) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.ContainsFunc(t.order, func(n *namedTally) bool { return !n.empty() })
}

// mostFields is more than a tally has fields.
const mostFields = 2 * int(kinds)

// take returns the flush that should ride on a call, if any:
//   - one that was not taken before, as it was;
//   - one that is due, because none was made for as long as every;
//   - if probe is set, one without counters: a write that shows whether Redis takes any.
func (c *Counters) take(every time.Duration, probe bool) scripts.Flush {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent {
		return scripts.Flush{}
	}
	if !c.pending {
		if !probe && time.Since(c.begun) < every {
			return scripts.Flush{}
		}
		grown := c.tenants.drain(c.drain(""))
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
func (c *Counters) done(f scripts.Flush, taken bool) {
	if f.Number == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = false
	c.pending = !taken
}

// drain empties the tally into one increment a field, whose name begins so.
func (t *Tally) drain(before string) []scripts.Increment {
	var grown []scripts.Increment
	for k := range t.of {
		n := t.of[k].Swap(0)
		if n == 0 {
			continue
		}
		t.drained[k] += n
		for _, field := range fields[k] {
			if counted, less := strings.CutPrefix(field, "-"); less {
				grown = grow(grown, before+counted, -n)
			} else {
				grown = grow(grown, before+field, n)
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

func (c *Counters) empty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.pending && c.Tally.empty() && c.tenants.empty()
}

// FlushAll sends the counters that are left at the end, for as long as Redis might need to come back to it.
func (l *Link) FlushAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*l.RedisTimeout)
	defer cancel()
	for {
		_, err := l.send(new(scripts.Call), l.Counters.take(0, false))
		if l.Counters.empty() {
			return nil
		}
		if late := sleep.For(ctx, 10*time.Millisecond); late != nil {
			return fmt.Errorf("counters that redis did not take are lost: %w", errors.Join(err, late))
		}
	}
}
