package main

import (
	"cmp"
	"slices"
	"time"
)

// delivery is one POST.
type delivery struct {
	at     time.Duration // from the start
	number int           // counts from 1
	*webhook
}

// schedule says what is delivered when, from a scenario's beats. Each beat adds deliveries, due at once or later. The
// next beat comes when the rate has room for as many deliveries as this one added.
type schedule struct {
	*source
	scenario *scenario
	rate     float64       // deliveries a second
	end      time.Duration // no beat after it
	now      time.Duration // time of the next beat
	brought  int           // number of deliveries that the current beat has added
	agenda   []delivery    // ordered by time
	number   int           // of the last delivery that was due

	// The state of the beats.
	same  *webhook      // the webhook of the current storm
	until time.Duration // when another webhook takes its place
	open  []dialog      // the dialogs of a day that have not ended
}

func newSchedule(s *scenario, from *source, rate float64, duration time.Duration) *schedule {
	return &schedule{source: from, scenario: s, rate: rate, end: duration}
}

// deliver schedules a webhook for some time after the current beat.
func (s *schedule) deliver(w *webhook, after time.Duration) {
	d := delivery{at: s.now + after, webhook: w}
	i, _ := slices.BinarySearchFunc(s.agenda, d.at+1,
		func(d delivery, at time.Duration) int { return cmp.Compare(d.at, at) })
	s.agenda = slices.Insert(s.agenda, i, d)
	s.brought++
}

// next returns the next delivery; ok is false if there is none.
func (s *schedule) next() (d delivery, ok bool) {
	for s.now < s.end && (len(s.agenda) == 0 || s.now <= s.agenda[0].at) {
		s.brought = 0
		s.scenario.beat(s)
		rate := s.rate
		if s.scenario.pulse != nil {
			rate *= s.scenario.pulse(s.now)
		}
		s.now += time.Duration(float64(s.brought) / rate * float64(time.Second))
	}
	if len(s.agenda) == 0 {
		return delivery{}, false
	}
	d = s.agenda[0]
	s.agenda = s.agenda[1:]
	s.number++
	d.number = s.number
	return d, true
}
