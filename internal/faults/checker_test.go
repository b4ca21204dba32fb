package faults_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// s returns a time of this many seconds.
func s(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func ran(replica int, attempt int64, begin, end float64, how ending) *execution {
	e := &execution{hook: "h", by: life{replica, 1}, attempt: attempt, begin: s(begin), end: s(end), ending: how}
	if how == done {
		e.data = fmt.Sprintf("%d by %d", attempt, replica)
	}
	return e
}

// tell returns a delivery in which a replica tells the result of an execution.
func tell(replica int, of *execution, sent, answered float64) delivery {
	return delivery{hook: "h", to: life{replica, 1}, sent: s(sent), answered: s(answered), code: 200, attempt: of.attempt,
		data: of.data}
}

func broke(e effect, replica int, from, to float64) *spell {
	return &spell{kind: "fault", effect: e, replica: replica, from: s(from), to: s(to)}
}

// TestTheCheckerReadsHistories judges the smallest history of each violation, and of each case that looks like one but
// is not.
func TestTheCheckerReadsHistories(t *testing.T) {
	first, second := ran(0, 1, 1, 2, done), ran(1, 2, 5, 6, done)
	long, over := ran(0, 1, 1, 6, done), ran(1, 2, 4.5, 5, done)
	first1, again := ran(0, 1, 1, 2, done), ran(1, 1, 9, 10, done)
	for name, c := range map[string]struct {
		executions []*execution
		deliveries []delivery
		spells     []*spell
		strict     bool
		finds      []string // the broken promises, each once
		excuses    int
	}{
		"one execution, two answers": {
			executions: []*execution{first}, deliveries: []delivery{tell(0, first, 0, 2.1), tell(1, first, 3, 3.1)},
		},
		"the first one fails": {
			executions: []*execution{ran(0, 1, 1, 2, failed), second}, deliveries: []delivery{tell(1, second, 0, 6.1)},
		},
		"two at once": {
			executions: []*execution{long, over}, deliveries: []delivery{tell(1, over, 0, 5.1)}, finds: []string{noOverlap},
		},
		"two at once, since one was paused past its lease": {
			executions: []*execution{long, over}, deliveries: []delivery{tell(1, over, 0, 5.1)},
			spells: []*spell{broke(paused, 0, 1.1, 5.9)}, excuses: 1,
		},
		"two at once, though the pause was short": {
			executions: []*execution{long, over}, deliveries: []delivery{tell(1, over, 0, 5.1)},
			spells: []*spell{broke(paused, 0, 3.9, 4.6)}, finds: []string{noOverlap},
		},
		"two at once, and the late one stored": {
			executions: []*execution{long, over}, deliveries: []delivery{tell(0, long, 0, 6.1)},
			spells: []*spell{broke(paused, 0, 1.1, 5.9)}, finds: []string{linearizable}, excuses: 1,
		},
		"two at once, since one was cut off and went on": {
			executions: []*execution{long, over}, deliveries: []delivery{tell(1, over, 0, 5.1)},
			spells: []*spell{broke(apart, 0, 1.1, 7)}, finds: []string{noOverlap},
		},
		"one was cut off and cancelled in time": {
			executions: []*execution{ran(0, 1, 1, 4.4, cut), over}, deliveries: []delivery{tell(1, over, 0, 5.1)},
			spells: []*spell{broke(apart, 0, 1.1, 7)},
		},
		"cancelled for nothing": {
			executions: []*execution{ran(0, 1, 1, 4.4, cut), over}, deliveries: []delivery{tell(1, over, 0, 5.1)},
			finds: []string{cutNoCause},
		},
		"executed after a success was told": {
			executions: []*execution{first, second}, deliveries: []delivery{tell(0, first, 0, 2.1), tell(0, first, 7, 7.1)},
			finds: []string{onceAnswered, linearizable},
		},
		"executed again, and nobody was told of the first": {
			executions: []*execution{first, second}, deliveries: []delivery{tell(1, second, 0, 6.1)},
			finds: []string{withoutCause},
		},
		"executed again, since the first replica was killed before it could store": {
			executions: []*execution{first, second}, deliveries: []delivery{tell(1, second, 0, 6.1)},
			spells: []*spell{broke(dead, 0, 2, 4)},
		},
		"answers differ": {
			executions: []*execution{first, second}, deliveries: []delivery{tell(0, first, 0, 2.1), tell(1, second, 0, 6.1)},
			finds: []string{equalAnswers, onceAnswered, linearizable},
		},
		"an answer from nowhere": {
			executions: []*execution{first}, deliveries: []delivery{tell(0, first, 0, 2.1),
				{hook: "h", sent: s(3), answered: s(4), code: 200, attempt: 1, data: "x"}},
			finds: []string{trueAnswers, equalAnswers, linearizable},
		},
		"attempts that do not grow": {
			executions: []*execution{ran(0, 2, 1, 2, failed), ran(1, 1, 3, 4, done)},
			deliveries: []delivery{tell(1, ran(1, 1, 3, 4, done), 0, 4.1)}, finds: []string{linearizable},
		},
		"Redis forgot, and who had told it is there": {
			executions: []*execution{first1, again}, deliveries: []delivery{tell(0, first1, 0, 2.1), tell(1, again, 8, 10.1)},
			spells: []*spell{broke(forgetful, everybody, 4, 4.1)}, finds: []string{onceAnswered, equalAnswers, linearizable},
		},
		"Redis forgot, and who had told it was killed before": {
			executions: []*execution{first1, again}, deliveries: []delivery{tell(0, first1, 0, 2.1), tell(1, again, 8, 10.1)},
			spells: []*spell{broke(dead, 0, 3, 3.5), broke(forgetful, everybody, 4, 4.1)}, excuses: 2,
		},
		"strict: Redis forgot, and who had told it was killed before": {
			executions: []*execution{first1, again}, deliveries: []delivery{tell(0, first1, 0, 2.1), tell(1, again, 8, 10.1)},
			spells: []*spell{broke(dead, 0, 3, 3.5), broke(forgetful, everybody, 4, 4.1)},
			strict: true, finds: []string{onceAnswered, equalAnswers, linearizable},
		},
		"strict: two at once, since one was paused past its lease": {
			executions: []*execution{long, over}, deliveries: []delivery{tell(1, over, 0, 5.1)},
			spells: []*spell{broke(paused, 0, 1.1, 5.9)}, strict: true, finds: []string{noOverlap},
		},
		"strict: executed again, since the first replica was killed before it could store": {
			executions: []*execution{first, second}, deliveries: []delivery{tell(1, second, 0, 6.1)},
			spells: []*spell{broke(dead, 0, 2, 4)}, strict: true, finds: []string{withoutCause},
		},
		"strict: cut off past its lease, and cancelled": {
			executions: []*execution{ran(0, 1, 1, 4.4, cut), over}, deliveries: []delivery{tell(1, over, 0, 5.1)},
			spells: []*spell{broke(apart, 0, 1.1, 7)}, strict: true, finds: []string{cutNoCause},
		},
		"strict: Redis forgot a claim that failed": {
			executions: []*execution{ran(0, 1, 1, 2, failed), again}, deliveries: []delivery{tell(1, again, 0, 10.1)},
			spells: []*spell{broke(forgetful, everybody, 4, 4.1)}, strict: true,
		},
		"Redis forgot before it was told": {
			executions: []*execution{first1, again}, deliveries: []delivery{tell(0, first1, 0, 2.1), tell(1, again, 8, 10.1)},
			spells: []*spell{broke(dead, 0, 0.1, 0.2), broke(forgetful, everybody, 0.3, 0.4)},
			finds:  []string{onceAnswered, equalAnswers, linearizable},
		},
		"Redis forgot a later attempt, and its replica came back late": {
			executions: []*execution{ran(0, 2, 1, 2, failed), again, ran(0, 3, 12, 13, done)},
			deliveries: []delivery{tell(1, again, 8, 10.1), tell(0, ran(0, 3, 12, 13, done), 11, 13.1)},
			spells:     []*spell{broke(forgetful, everybody, 4, 4.1), broke(apart, 0, 4.2, 10.5)}, excuses: 3,
		},
		"Redis forgot a later attempt, and its replica was there": {
			executions: []*execution{ran(0, 2, 1, 2, failed), again, ran(0, 3, 12, 13, done)},
			deliveries: []delivery{tell(1, again, 8, 10.1), tell(0, ran(0, 3, 12, 13, done), 11, 13.1)},
			spells:     []*spell{broke(forgetful, everybody, 4, 4.1)},
			finds:      []string{onceAnswered, equalAnswers, linearizable},
		},
		"Redis forgot, and who had told it was away": {
			executions: []*execution{first1, again}, deliveries: []delivery{tell(0, first1, 0, 2.1), tell(1, again, 8, 10.1)},
			spells: []*spell{broke(apart, 0, 3.5, 7), broke(forgetful, everybody, 4, 4.1)}, excuses: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := &history{executions: c.executions, deliveries: c.deliveries, spells: c.spells}
			h.close()
			v := judge(h, nil, c.strict)
			var found []string
			for _, violation := range v.violations {
				if !slices.Contains(found, violation.promise) {
					found = append(found, violation.promise)
				}
			}
			slices.Sort(found)
			slices.Sort(c.finds)
			excused := 0
			for _, hooks := range v.excused {
				excused += len(hooks)
			}
			if !slices.Equal(found, c.finds) || excused != c.excuses {
				t.Errorf("found %q, want %q; excused %v\n%s", found, c.finds, v.excused, v.explain("h"))
			}
			if page, err := v.draw("h", t.TempDir()); err != nil {
				t.Errorf("drawing %s: %v", page, err)
			}
		})
	}
}

func TestASeedGivesTheSameFaultsAndWebhooks(t *testing.T) {
	all := append(faultsOfAll(), faultsOfServers()...)
	texts := func(seed uint64) (texts []string) {
		for _, strike := range schedule(seed, time.Minute, settle, all) {
			texts = append(texts, strike.String())
		}
		return texts
	}
	if !slices.Equal(texts(1), texts(1)) || slices.Equal(texts(1), texts(2)) {
		t.Errorf("schedules: %q, %q, %q", texts(1), texts(1), texts(2))
	}
	if a, b := errands(1), errands(1); !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, errands(2)) {
		t.Errorf("errands: %v, %v", a, b)
	}
}

// errands returns the first errands of a caller.
func errands(seed uint64) (errands []errand) {
	r := webhooksOf(seed, 3)
	for i := range 100 {
		errands = append(errands, draw(r, 3, i, 3, usual))
	}
	return errands
}
