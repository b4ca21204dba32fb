package faults_test

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// late is how long a cancelled execution may go on, and how late a pause is felt: what a busy machine of few cores
// needs.
const late = 750 * time.Millisecond

// violation is a promise that was broken for a webhook.
type violation struct {
	promise string
	hook    string
	what    string
}

func (v violation) String() string { return v.promise + ": " + v.hook + ": " + v.what }

// The promises, as the table names them.
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

// verdict is what the checker found.
type verdict struct {
	violations []violation
	// webhooks of executions and answers that a promise does not cover, by the reason that the docs name
	excused map[string][]string
	traces  map[string]*trace
	spells  []*spell // all
	causes  []*spell // those that may excuse something
}

// trace is all that happened to one webhook.
type trace struct {
	hook       string
	deliveries []delivery
	executions []*execution
}

// judge reads a closed history; strict: whatever befell the replicas excuses nothing.
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

// overlaps holds that two executions are live at once only where the earlier one's replica was paused past its lease,
// or was away when Redis forgot it, and that one which a lease's end cancels ends at once.
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

// repetitions holds that an execution begins only where none before has brought a result that anybody was told, or that
// could be stored; and that none is cancelled for nothing.
func (v *verdict) repetitions(t *trace) {
	told := t.told()
	for i, b := range t.executions {
		switch {
		case b.begin <= told:
		case v.forgotten(t, b.begin):
			v.excuses("executed again: Redis forgot, and who knew the result was gone or away", t)
		case v.fell(paused, b.by.replica, told-late, b.begin) && v.lastEnd(paused, b.by.replica, b.begin) >= b.begin-late:
			v.excuses("begun late: a replica was paused between its claim and its request", t)
		default:
			v.breaks(onceAnswered, t, "attempt %d by %v began at %v, told at %v", b.attempt, b.by, b.begin, told)
		}
		if b.ending == cut && v.away(b.by.replica, b.begin-lockTTL, b.end+late) == 0 {
			v.breaks(cutNoCause, t, "attempt %d by %v at %v", b.attempt, b.by, b.end)
		}
		if i == 0 {
			continue
		}
		// Its result may have been refused or not got to Redis at all, where its replica was in trouble.
		if a := t.executions[i-1]; a.ending == done && a.end <= b.begin && b.begin <= told &&
			!v.fellAny(a.by.replica, a.begin-lockTTL, b.begin+late) {
			v.breaks(withoutCause, t, "attempt %d by %v ended well at %v, attempt %d by %v began at %v", a.attempt, a.by, a.end,
				b.attempt, b.by, b.begin)
		}
	}
}

// answers holds that all results that were told are one, which an execution of that attempt gave.
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
		default:
			v.breaks(equalAnswers, t, "%s, then %s", first.data, d.data)
		}
	}
}

// told is when a result was first told to anybody.
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

// fell reports whether a spell of an effect lay on a replica at any time between two.
func (v *verdict) fell(e effect, replica int, from, to time.Duration) bool {
	return slices.ContainsFunc(v.causes, func(s *spell) bool {
		return s.effect == e && s.on(replica) && s.from <= to &&
			s.to >= from
	})
}

// fellAny reports whether any spell lay on a replica that keeps it from Redis, other than that Redis forgot.
func (v *verdict) fellAny(replica int, from, to time.Duration) bool {
	return v.fell(paused, replica, from, to) || v.fell(apart, replica, from, to) || v.fell(dead, replica, from, to)
}

// lastEnd is when the last spell of an effect on a replica ended that began before a moment.
func (v *verdict) lastEnd(e effect, replica int, before time.Duration) (end time.Duration) {
	for _, s := range v.causes {
		if s.effect == e && s.on(replica) && s.from <= before {
			end = max(end, s.to)
		}
	}
	return end
}

func (s *spell) on(replica int) bool { return s.replica == everybody || s.replica == replica }

// away is for how long between two moments a replica was dead or paused, could not reach Redis, or Redis was in no
// state to answer it.
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

// healed is how long after a loss who knew something may take to put it back.
const healed = settle + late

// present reports whether a replica was there, in the same life, all through a loss and its healing.
func (v *verdict) present(replica int, loss *spell) bool {
	return !slices.ContainsFunc(v.causes, func(s *spell) bool {
		return s.effect != harmless && s.effect != forgetful && s.on(replica) && s.from <= loss.to+healed && s.to >= loss.from
	})
}

// losses are the times before a moment when Redis may have forgotten.
func (v *verdict) losses(before time.Duration) (losses []*spell) {
	for _, s := range v.spells {
		if s.effect == forgetful && s.from <= before {
			losses = append(losses, s)
		}
	}
	return losses
}

// forgottenWhileAway reports whether Redis forgot a running execution whose replica was not there to put it back.
func (v *verdict) forgottenWhileAway(e *execution, before time.Duration) bool {
	return slices.ContainsFunc(v.losses(before), func(loss *spell) bool {
		return loss.to+healed >= e.begin && !v.present(e.by.replica, loss)
	})
}

// forgotten reports whether Redis forgot a result when none of those who had told it was there to put it back, and no
// other execution's has been told since.
func (v *verdict) forgotten(t *trace, before time.Duration) bool {
	return slices.ContainsFunc(v.losses(before), func(loss *spell) bool {
		return v.lost(t, loss) &&
			!t.toldAgain(loss.to, before)
	})
}

// everForgotten is the same for what came of it: answers of both executions.
func (v *verdict) everForgotten(t *trace, before time.Duration) bool {
	return slices.ContainsFunc(v.losses(before), func(loss *spell) bool { return v.lost(t, loss) })
}

// toldAgain reports whether an execution that began after a moment was told of before another one.
func (t *trace) toldAgain(after, before time.Duration) bool {
	return slices.ContainsFunc(t.executions, func(e *execution) bool {
		return e.ending == done && e.begin > after && slices.ContainsFunc(t.deliveries, func(d delivery) bool {
			return d.code == http.StatusOK && d.data == e.data && d.answered < before
		})
	})
}

// lost reports whether a loss took a result for good that had been told: nobody who had told it lived and was there.
func (v *verdict) lost(t *trace, loss *spell) bool {
	return t.told() <= loss.to && !slices.ContainsFunc(t.deliveries, func(d delivery) bool {
		return d.code == http.StatusOK && d.answered <= loss.to && v.lives(d.to, d.answered, loss) &&
			v.present(d.to.replica, loss)
	})
}

// lives reports whether a life that answered at a moment still goes on at a loss.
func (v *verdict) lives(l life, from time.Duration, loss *spell) bool {
	return !slices.ContainsFunc(v.causes, func(s *spell) bool {
		return s.effect == dead && s.replica == l.replica && s.to >= from && s.from <= loss.from
	})
}

// ------------------------------------------------------------------------------------------------- trace -----

// explain is a webhook's trace as a person reads it, in the order of time: with the faults that came shortly before
// something happened to it, and all that took memory away.
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
