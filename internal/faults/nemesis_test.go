package faults_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// strike is a fault at a time in the schedule.
type strike struct {
	fault
	replica int // the replica that it hits; everybody: all of them
	at      time.Duration
	takes   time.Duration
}

// schedule draws the strikes of a run; they depend only on the arguments. Strikes follow each other after short calms.
// With about every second strike comes another one that hits another part.
//
// A strike that makes Redis forget mostly comes alone, never together with one that cuts all replicas off, and is
// followed by a calm of SETTLE. Otherwise most of what is lost would not be promised to be put back.
func schedule(seed uint64, lasts, settle time.Duration, faults []fault) (strikes []strike) {
	r := rand.New(rand.NewPCG(seed, 1<<32))
	draw := func(at time.Duration, from []fault) strike {
		s := strike{fault: from[r.IntN(len(from))], replica: everybody, at: at}
		if s.one {
			s.replica = r.IntN(3)
		}
		s.takes = s.lasts(r)
		return s
	}
	var kinds []fault
	for at := 300 * time.Millisecond; at < lasts; {
		if len(kinds) == 0 { // all kinds come before any comes again; those that make Redis forget come twice
			forgetting := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.effect != forgetful })
			kinds = append(slices.Clone(faults), forgetting...)
		}
		i := r.IntN(len(kinds))
		first := draw(at, kinds[i:i+1])
		kinds = slices.Delete(kinds, i, i+1)
		strikes = append(strikes, first)
		end := at + first.takes

		oneIn := 2
		if first.effect == forgetful {
			oneIn = 8
		}
		if r.IntN(oneIn) == 0 {
			beside := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool {
				allAway := first.effect == forgetful && f.effect == apart && !f.one
				return f.part == first.part || f.effect == forgetful || allAway
			})
			second := draw(at+time.Duration(r.Int64N(int64(first.takes)+int64(500*time.Millisecond))), beside)
			strikes = append(strikes, second)
			end = max(end, second.at+second.takes)
		}
		at = end + between(100, 800)(r)
		if first.effect == forgetful {
			at += settle
		}
	}
	slices.SortStableFunc(strikes, func(a, b strike) int { return cmp.Compare(a.at, b.at) })
	return strikes
}

// suffer carries out a schedule. It runs in the test's own goroutine, and returns when everything is mended.
func (w *world) suffer(strikes []strike) {
	type end struct {
		strike
		spell *spell
	}
	var open []end
	mend := func(e end) {
		if e.end != nil {
			e.end(w, e.replica)
		}
		w.history.mended(e.spell)
	}
	mendUntil := func(at time.Duration) {
		slices.SortStableFunc(open, func(a, b end) int { return cmp.Compare(a.at+a.takes, b.at+b.takes) })
		for len(open) > 0 && open[0].at+open[0].takes <= at {
			e := open[0]
			open = open[1:]
			w.sleepUntil(e.at + e.takes)
			if e.effect == dead { // a start takes time, and longer while Redis is away
				w.dying.Add(1)
				w.reviving.Go(func() { mend(e); w.dying.Add(-1) })
				continue
			}
			mend(e)
		}
	}
	for _, s := range strikes {
		mendUntil(s.at)
		w.sleepUntil(s.at)
		if s.part == process && w.dying.Load() > 0 { // a fault that keeps the replica from starting must end first
			mendUntil(forever)
			w.reviving.Wait()
		}
		struck := end{s, w.history.broken(s.kind, s.replica, s.effect)}
		s.begin(w, s.replica)
		if s.takes == 0 {
			mend(struck)
			continue
		}
		open = append(open, struck)
	}
	mendUntil(forever)
	w.reviving.Wait()
}

func (w *world) sleepUntil(at time.Duration) { time.Sleep(at - w.history.now()) }

func (s strike) String() string {
	whom := ""
	if s.replica != everybody {
		whom = fmt.Sprintf(" (replica %d)", s.replica)
	}
	return fmt.Sprintf("%7.2f s  %s%s, %v", s.at.Seconds(), s.kind, whom, s.takes.Round(time.Millisecond))
}
