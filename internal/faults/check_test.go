package faults_test

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// late is how long a cancelled execution may go on, and by how much the effect of a pause may be delayed: a busy
// machine with few cores needs that.
const late = 750 * time.Millisecond

// violation is a promise that was broken for a webhook.
type violation struct {
	promise string
	hook    string
	what    string
}

func (v violation) String() string { return v.promise + ": " + v.hook + ": " + v.what }

// The promises, by the names in the table of results.
const (
	noOverlap     = "two executions at once"
	onceAnswered  = "executed after a success was told"
	withoutCause  = "executed again without a cause"
	cutNoCause    = "cancelled without a cause"
	equalAnswers  = "answers differ"
	trueAnswers   = "an answer that no execution gave"
	answeredAtAll = "never answered"
	linearizable  = "not linearizable"
	counted       = "counters"
)

// verdict is the checker's result.
type verdict struct {
	violations []violation
	// by the reason as the docs name it: the webhooks with executions or answers that no promise covers
	excused map[string][]string
	traces  map[string]*trace
	spells  []*spell // all of them
	causes  []*spell // faults that may excuse a violation
}

// trace is everything that happened to one webhook.
type trace struct {
	hook       string
	deliveries []delivery
	executions []*execution
}

// judge reads a closed history. lost holds the webhooks that were never answered. If strict is set, no fault excuses
// anything.
func judge(h *history, lost []string, strict bool) *verdict {
	v := &verdict{excused: make(map[string][]string), traces: make(map[string]*trace), spells: h.spells, causes: h.spells}
	if strict {
		v.causes = nil
	}
	of := func(hook string) *trace {
		t := v.traces[hook]
		if t == nil {
			t = &trace{hook: hook}
			v.traces[hook] = t
		}
		return t
	}
	for _, d := range h.deliveries {
		t := of(d.hook)
		t.deliveries = append(t.deliveries, d)
	}
	for _, e := range h.executions {
		t := of(e.hook)
		t.executions = append(t.executions, e)
	}
	for _, hook := range lost {
		v.breaks(answeredAtAll, of(hook), "though nothing was broken any more")
	}
	for _, t := range v.traces {
		v.overlaps(t)
		v.repetitions(t)
		v.answers(t)
		v.linearizes(t)
	}
	slices.SortFunc(v.violations, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.promise, b.promise), cmp.Compare(a.hook, b.hook))
	})
	return v
}

func (v *verdict) breaks(promise string, t *trace, what string, args ...any) {
	v.violations = append(v.violations, violation{promise, t.hook, fmt.Sprintf(what, args...)})
}

func (v *verdict) excuses(reason string, t *trace) {
	v.excused[reason] = append(v.excused[reason], t.hook)
}

// overlaps checks that two executions run at once only if the earlier one's replica was paused past its lease, or was
// away when Redis forgot it. It also checks that an execution ends at once when its lease's end cancels it.
func (v *verdict) overlaps(t *trace) {
	for i, a := range t.executions {
		for _, b := range t.executions[i+1:] {
			if b.begin >= a.end {
				continue
			}
			switch {
			case v.fell(paused, a.by.replica, a.begin, b.begin) && v.away(a.by.replica, b.begin-lockTTL, b.begin) >= lockTTL/2 &&
				a.end <= max(b.begin, v.lastEnd(paused, a.by.replica, b.begin))+late:
				v.excuses("two at once: a replica was paused past its lease", t)
			case a.ending == cut && a.end <= b.begin+late && v.away(a.by.replica, b.begin-lockTTL, b.begin) >= lockTTL/2:
				v.excuses("two at once for a moment: a replica was cut off past its lease", t)
			case v.forgottenWhileAway(a, b.begin):
				v.excuses("two at once: Redis forgot while the replica was away", t)
			default:
				v.breaks(noOverlap, t, "attempt %d (%v, by %v) began at %v, attempt %d by %v ended %v at %v",
					b.attempt, b.ending, b.by, b.begin, a.attempt, a.by, a.ending, a.end)
			}
		}
	}
}

// repetitions checks that an execution begins only if no earlier one has brought a result that was told to anybody, or
// that could be stored. It also checks that no execution is cancelled without a cause.
func (v *verdict) repetitions(t *trace) {
	told := t.told()
	for i, b := range t.executions {
		switch {
		case b.begin <= told:
		case v.forgotten(t, b.begin):
			v.excuses("executed again: Redis forgot, and who knew the result was gone or away", t)
		case v.putBackLate(t, b.begin):
			v.excuses("executed again: Redis forgot, and who knew of an attempt came back late", t)
		case v.fell(paused, b.by.replica, told-late, b.begin) && v.lastEnd(paused, b.by.replica, b.begin) >= b.begin-late:
			v.excuses("begun late: a replica was paused between its claim and its request", t)
		default:
			v.breaks(onceAnswered, t, "attempt %d by %v began at %v, told at %v", b.attempt, b.by, b.begin, told)
		}
		switch {
		case b.ending != cut || v.away(b.by.replica, b.begin-lockTTL, b.end+late) > 0:
		case v.putBackLate(t, b.end):
			v.excuses("cancelled: Redis forgot, and who knew of an attempt came back late", t)
		default:
			v.breaks(cutNoCause, t, "attempt %d by %v at %v", b.attempt, b.by, b.end)
		}
		if i == 0 {
			continue
		}
		// If its replica was in trouble, its result may have been refused, or may never have reached Redis.
		if a := t.executions[i-1]; a.ending == done && a.end <= b.begin && b.begin <= told &&
			!v.fellAny(a.by.replica, a.begin-lockTTL, b.begin+late) {
			v.breaks(withoutCause, t, "attempt %d by %v ended well at %v, attempt %d by %v began at %v", a.attempt, a.by, a.end,
				b.attempt, b.by, b.begin)
		}
	}
}

// answers checks that all results that were told are equal, and that an execution of that attempt brought them.
func (v *verdict) answers(t *trace) {
	var first *delivery
	for i := range t.deliveries {
		d := &t.deliveries[i]
		if d.code != http.StatusOK {
			continue
		}
		if !slices.ContainsFunc(t.executions, func(e *execution) bool { return e.data == d.data && e.attempt == d.attempt }) {
			v.breaks(trueAnswers, t, "%v told attempt %d, %s", d.to, d.attempt, d.data)
		}
		switch {
		case first == nil:
			first = d
		case first.data == d.data && first.attempt == d.attempt:
		case v.everForgotten(t, d.answered):
			v.excuses("another answer: Redis forgot, and who knew the result was gone or away", t)
		case v.putBackLate(t, d.answered):
			v.excuses("another answer: Redis forgot, and who knew of an attempt came back late", t)
		default:
			v.breaks(equalAnswers, t, "%s, then %s", first.data, d.data)
		}
	}
}

// told returns when a result was first told to anybody.
func (t *trace) told() time.Duration {
	told := forever
	for _, d := range t.deliveries {
		if d.code == http.StatusOK {
			told = min(told, d.answered)
		}
	}
	return told
}

// ------------------------------------------------------------------------------------------------ excuses ----

// fell reports whether a replica was under a spell of this effect at any time between from and to.
func (v *verdict) fell(e effect, replica int, from, to time.Duration) bool {
	return slices.ContainsFunc(v.causes, func(s *spell) bool {
		return s.effect == e && s.on(replica) && s.from <= to &&
			s.to >= from
	})
}

// fellAny reports whether a replica was under any spell that keeps it from Redis.
func (v *verdict) fellAny(replica int, from, to time.Duration) bool {
	return v.fell(paused, replica, from, to) || v.fell(apart, replica, from, to) || v.fell(dead, replica, from, to)
}

// lastEnd returns when the last spell of an effect on a replica ended, among those that began before a given time.
func (v *verdict) lastEnd(e effect, replica int, before time.Duration) (end time.Duration) {
	for _, s := range v.causes {
		if s.effect == e && s.on(replica) && s.from <= before {
			end = max(end, s.to)
		}
	}
	return end
}

func (s *spell) on(replica int) bool { return s.replica == everybody || s.replica == replica }

// away returns for how long, between from and to, a replica was dead, was paused, could not reach Redis, or met a Redis
// that could not answer.
func (v *verdict) away(replica int, from, to time.Duration) (total time.Duration) {
	at := from
	for _, s := range v.causes { // in the order in which they began
		if s.effect == harmless || s.kind == flushAll || !s.on(replica) || s.to < at || s.from > to {
			continue
		}
		begin, end := max(s.from, at), min(s.to, to)
		total += max(end-begin, 1) // an instant counts as well
		at = max(at, end)
	}
	return total
}

// healed is how long after a loss a replica may take to put back what it knows.
const healed = settle + late

// present reports whether a replica was alive and connected all through a loss and its healing.
func (v *verdict) present(replica int, loss *spell) bool {
	return !slices.ContainsFunc(v.causes, func(s *spell) bool {
		return s.effect != harmless && s.effect != forgetful && s.on(replica) && s.from <= loss.to+healed && s.to >= loss.from
	})
}

// losses returns the times before a given moment at which Redis may have forgotten records.
func (v *verdict) losses(before time.Duration) (losses []*spell) {
	for _, s := range v.spells {
		if s.effect == forgetful && s.from <= before {
			losses = append(losses, s)
		}
	}
	return losses
}

// forgottenWhileAway reports whether Redis forgot a running execution while its replica was not there to put it back.
func (v *verdict) forgottenWhileAway(e *execution, before time.Duration) bool {
	return slices.ContainsFunc(v.losses(before), func(loss *spell) bool {
		return loss.to+healed >= e.begin && !v.present(e.by.replica, loss)
	})
}

// forgotten reports whether Redis forgot a result while no replica that had told it was there to put it back, and no
// other execution's result has been told since.
func (v *verdict) forgotten(t *trace, before time.Duration) bool {
	return slices.ContainsFunc(v.losses(before), func(loss *spell) bool {
		return v.lost(t, loss) &&
			!t.toldAgain(loss.to, before)
	})
}

// everForgotten reports whether Redis ever forgot a result in this way before a given time. Then answers of two
// executions may be told.
func (v *verdict) everForgotten(t *trace, before time.Duration) bool {
	return slices.ContainsFunc(v.losses(before), func(loss *spell) bool { return v.lost(t, loss) })
}

// putBackLate reports whether Redis forgot an attempt while the attempt's replica was not there to put it back before
// anything new was decided. When that replica comes back, a later attempt wins over the decisions made meanwhile.
func (v *verdict) putBackLate(t *trace, before time.Duration) bool {
	return slices.ContainsFunc(v.losses(before), func(loss *spell) bool {
		return slices.ContainsFunc(t.executions, func(e *execution) bool {
			return e.begin <= loss.to && v.lives(e.by, e.begin, loss) && !v.present(e.by.replica, loss)
		})
	})
}

// toldAgain reports whether the result of an execution that began after one time was told before another time.
func (t *trace) toldAgain(after, before time.Duration) bool {
	return slices.ContainsFunc(t.executions, func(e *execution) bool {
		return e.ending == done && e.begin > after && slices.ContainsFunc(t.deliveries, func(d delivery) bool {
			return d.code == http.StatusOK && d.data == e.data && d.answered < before
		})
	})
}

// lost reports whether a loss took away a told result for good: no replica that had told it was alive and present.
func (v *verdict) lost(t *trace, loss *spell) bool {
	return t.told() <= loss.to && !slices.ContainsFunc(t.deliveries, func(d delivery) bool {
		return d.code == http.StatusOK && d.answered <= loss.to && v.lives(d.to, d.answered, loss) &&
			v.present(d.to.replica, loss)
	})
}

// lives reports whether a life that answered at a given time still goes on at a loss.
func (v *verdict) lives(l life, from time.Duration, loss *spell) bool {
	return !slices.ContainsFunc(v.causes, func(s *spell) bool {
		return s.effect == dead && s.replica == l.replica && s.to >= from && s.from <= loss.from
	})
}

// ------------------------------------------------------------------------------------------------- trace -----

// explain returns a webhook's trace for a person, in the order of time, with the faults shortly before each event and
// all those that took memory away.
func (v *verdict) explain(hook string) string {
	t := v.traces[hook]
	if t == nil {
		return ""
	}
	type line struct {
		at   time.Duration
		text string
	}
	var lines []line
	add := func(at time.Duration, format string, args ...any) {
		lines = append(lines, line{at, fmt.Sprintf(format, args...)})
	}
	for _, d := range t.deliveries {
		add(d.answered, "replica %v answers %d %s, attempt %d, %s (sent at %.3f)", d.to, d.code, d.status, d.attempt, d.data,
			d.sent.Seconds())
	}
	for _, e := range t.executions {
		add(e.begin, "attempt %d begins, by %v", e.attempt, e.by)
		add(e.end, "attempt %d by %v ends: %s %s", e.attempt, e.by, e.ending, e.data)
	}
	events := slices.Clone(lines)
	for _, s := range v.spells {
		near := slices.ContainsFunc(events, func(l line) bool {
			return s.from <= l.at && l.at <= max(s.to, s.from+lockTTL)+
				lockTTL
		})
		if near || s.effect == forgetful || s.effect == dead {
			add(s.from, "--- %s%s begins", s.kind, whom(s.replica))
			add(s.to, "--- %s%s ends", s.kind, whom(s.replica))
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	text := new(strings.Builder)
	for _, l := range lines {
		fmt.Fprintf(text, "  %9.3f s  %s\n", l.at.Seconds(), l.text)
	}
	return text.String()
}

func whom(replica int) string {
	if replica == everybody {
		return ""
	}
	return fmt.Sprintf(" (replica %d)", replica)
}
