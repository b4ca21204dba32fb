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

// Kind is the outcome of a request, which is counted once, or a remark on it. The script counts transitions itself.
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
	Refused                      // of Unavailable: nothing is executed at the moment
	Limited                      // of Unavailable: its tenant has begun as many executions as it may
	Overloaded                   // of Unavailable: too much is under way
	Poisoned                     // of Unavailable: its executions failed too often
	Doubtful                     // of Unavailable: an attempt is in doubt
	LateAnswer                   // remark: a first caller left before its own execution ended
	Mismatch                     // remark: a duplicate with another body than the first
	Rejected                     // remark: an execution whose result is a refusal for good
	Reconciled                   // remark: an execution that only asked for what an earlier one had brought
	Malformed                    // no webhook: its payload or its HTTP made no sense
	Unauthorized                 // no webhook: it showed no valid key
	Forbidden                    // no webhook: it came from an address that is not let in
	Unsigned                     // no webhook: its signature is missing or wrong
	Unknown                      // no webhook: it is for a tenant that does not exist
	ReloadFailed                 // no webhook: a file of settings was not accepted
	kinds
)

// fields has for each kind the counters of the metrics hash that it adds one to, or subtracts one from (minus sign).
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

// Totals has a number for each kind.
type Totals [kinds]int64

// Add adds the numbers of others.
func (t *Totals) Add(others *Totals) {
	for k, n := range others {
		t[k] += n
	}
}

// Counters add up in memory the requests that no script call saw. The sums go out with a script call as a numbered
// flush. Only one flush is on its way at a time, and it is sent again unchanged until Redis has taken it: so nothing is
// counted twice or lost, even if a reply is lost.
type Counters struct {
	mu      sync.Mutex
	tallies map[string]*Tally // by tenant; "": requests of no tenant
	order   []*Tally          // the tallies of tenants
	next    int               // index in order: the first tally of the next flush, so that each gets its turn
	last    scripts.Flush     // the newest flush, taken or not
	pending bool              // last is not known to be taken
	sent    bool              // a call that carries last is under way
	begun   time.Time         // when last was made
}

// Tally counts the requests of one tenant since the last flush, by kind.
type Tally struct {
	of [kinds]atomic.Int64

	before  string // begins the name of each of its fields
	drained Totals // counted by flushes so far; the lock of the counters guards it
	owed    Totals // the part of drained that a flush has for all and none has for the tenant yet; the lock guards it
}

// Add counts one request.
func (t *Tally) Add(k Kind) { t.of[k].Add(1) }

// Of returns the tally of a tenant. Its fields begin with the tenant's name and a slash. "" is for requests of no
// tenant, which count in the totals only.
func (c *Counters) Of(tenant string) *Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallies[tenant]
	if t == nil {
		t = new(Tally)
		if tenant != "" {
			t.before = tenant + "/"
			c.order = append(c.order, t)
		}
		if c.tallies == nil {
			c.tallies = map[string]*Tally{}
		}
		c.tallies[tenant] = t
	}
	return t
}

// Totals returns all that a tally has counted since the process began. No number in it ever falls.
func (c *Counters) Totals(t *Tally) Totals {
	c.mu.Lock()
	defer c.mu.Unlock()
	totals := t.drained
	for k := range t.of {
		totals[k] += t.of[k].Load()
	}
	return totals
}

// take returns the flush that the next call should carry, if any:
//   - one that was not taken before, unchanged;
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

// done notes whether a flush that take returned was taken.
func (c *Counters) done(f scripts.Flush, taken bool) {
	if f.Number == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = false
	c.pending = !taken
}

// drain empties all tallies. The flush has the totals at once. A tenant whose own fields find no room in it comes with
// a later flush.
func (c *Counters) drain() (grown []scripts.Increment) {
	var all Totals
	for _, t := range c.tallies {
		t.drain(&all)
	}
	grown = all.increments(grown, "")
	for range c.order {
		if len(grown) > scripts.MaxIncrements-len(fieldNames) {
			break
		}
		t := c.order[c.next%len(c.order)]
		c.next++
		grown = t.owed.increments(grown, t.before)
		t.owed = Totals{}
	}
	return grown
}

// drain empties the tally into totals.
func (t *Tally) drain(all *Totals) {
	for k := range t.of {
		if t.of[k].Load() == 0 {
			continue
		}
		n := t.of[k].Swap(0)
		all[k] += n
		t.drained[k] += n
		if t.before != "" {
			t.owed[k] += n
		}
	}
}

// fieldNames has the names of all fields that each kind adds to or subtracts from.
var fieldNames = func() (names []string) {
	for _, of := range fields {
		for _, field := range of {
			if name := strings.TrimPrefix(field, "-"); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}()

// increments appends one for each field that changes. Its name begins with before.
func (t *Totals) increments(to []scripts.Increment, before string) []scripts.Increment {
	first := len(to)
	for k, n := range t {
		if n == 0 {
			continue
		}
		for _, field := range fields[k] {
			by := n
			if name, less := strings.CutPrefix(field, "-"); less {
				field, by = name, -n
			}
			at := first + slices.IndexFunc(to[first:], func(i scripts.Increment) bool { return i.Field[len(before):] == field })
			if at < first {
				at, to = len(to), append(to, scripts.Increment{Field: before + field})
			}
			to[at].By += by
		}
	}
	return to
}

func (c *Counters) empty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tallies {
		for k := range t.of {
			if t.of[k].Load() != 0 || t.owed[k] != 0 {
				return false
			}
		}
	}
	return !c.pending
}

// FlushAll sends the counters that are left at the end. It repeats that for as long as Redis might need to come back.
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
